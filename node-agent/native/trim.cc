// SPDX-License-Identifier: Apache-2.0
#include "trim.h"

#include <malloc.h>

namespace serval {

Napi::Value trim_memory(const Napi::CallbackInfo& info) {
  malloc_trim(0);
  return info.Env().Undefined();
}

}  // namespace serval
