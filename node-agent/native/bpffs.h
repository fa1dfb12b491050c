// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace serval {

Napi::Value is_bpffs(const Napi::CallbackInfo& info);
Napi::Value mount_bpffs(const Napi::CallbackInfo& info);
Napi::Value unmount_bpffs(const Napi::CallbackInfo& info);

}  // namespace serval
