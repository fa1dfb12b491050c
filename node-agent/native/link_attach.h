// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <vector>

#include "descriptor.h"

namespace serval {

// All of them in the calling thread's namespace.

enum class Direction { kIngress, kEgress };

// Before every program that is on the device already. Returns the link.
Descriptor attach_tcx(uint32_t ifindex, Direction direction, int program_fd);

struct ClsactFilter {
  uint32_t ifindex;
  Direction direction;
  uint32_t handle;
  uint32_t priority;
};

// Makes the qdisc where it is absent; replaces what has the same handle and priority.
void attach_clsact(const ClsactFilter& filter, int program_fd);

// False where there was no such filter. Takes the qdisc away with the last filter of either direction.
bool detach_clsact(const ClsactFilter& filter);

struct AttachedProgram {
  bool tcx;  // else clsact
  bpf_prog_info info;
};

// In the order in which they run: TCX, then clsact.
std::vector<AttachedProgram> attached_programs(uint32_t ifindex, Direction direction);

}  // namespace serval
