// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace serval {

struct InjectionResult {
  struct Refusal {
    uint32_t index;
    int error;  // errno
  };
  uint32_t sent = 0;
  std::vector<Refusal> refused;
};

// Sends whole IP packets from the calling thread's namespace, in their order.
InjectionResult inject_packets(std::vector<std::vector<uint8_t>>& packets);

}  // namespace serval
