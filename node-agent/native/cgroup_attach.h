// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace serval {

// attachCgroup(path, type, program): a link; the program goes before those of others where the kernel can.
Napi::Value attach_cgroup(const Napi::CallbackInfo& info);

}  // namespace serval
