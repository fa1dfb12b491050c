// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace serval {

// Everything that native.ts calls NetnsOperations.
void register_netns_operations(Napi::Env env, Napi::Object exports);

}  // namespace serval
