// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace serval {

// Gives pages that the C library holds and nobody uses back to the kernel.
Napi::Value trim_memory(const Napi::CallbackInfo& info);

}  // namespace serval
