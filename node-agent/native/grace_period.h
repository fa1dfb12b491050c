// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace serval {

// Returns when no BPF program that is running now can still be running: an RCU grace period, some 10 ms. Throws
// NativeFailure where the kernel offers no way to wait for one.
void wait_for_bpf_programs();

// gracePeriod(): a Promise for the same, waited for on a thread of its own.
Napi::Value grace_period(const Napi::CallbackInfo& info);

}  // namespace serval
