// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace serval {

Napi::Value probe(const Napi::CallbackInfo& info);
Napi::Value possible_cpus(const Napi::CallbackInfo& info);

}  // namespace serval
