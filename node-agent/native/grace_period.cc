// SPDX-License-Identifier: Apache-2.0
#include "grace_period.h"

#include <bpf/bpf.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "descriptor.h"
#include "error.h"
#include "own_thread.h"

namespace serval {

namespace {

Descriptor checked(int fd, const char* operation) {
  if (fd < 0) {
    throw NativeFailure(-fd, operation);
  }
  return Descriptor(fd);
}

// Since 4.20 an update of a map of maps returns only after a grace period, as its users would otherwise see the map
// that was replaced.
void wait_by_map_of_maps() {
  static constexpr char kOperation[] = "bpf_map_create(grace period)";
  const Descriptor inner =
      checked(bpf_map_create(BPF_MAP_TYPE_ARRAY, "grace_inner", sizeof(__u32), sizeof(__u32), 1, nullptr), kOperation);
  LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<__u32>(inner.get()));
  const Descriptor outer = checked(
      bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "grace_outer", sizeof(__u32), sizeof(__u32), 1, &options),
      kOperation);
  const __u32 key = 0;
  const int value = inner.get();
  if (const int err = bpf_map_update_elem(outer.get(), &key, &value, BPF_ANY); err != 0) {
    throw NativeFailure(-err, "bpf_map_update(grace period)");
  }
}

}  // namespace

void wait_for_bpf_programs() {
  // Refused where a CPU runs without ticks (nohz_full), and by seccomp profiles that don't know it.
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0) {
    wait_by_map_of_maps();
  }
}

Napi::Value grace_period(const Napi::CallbackInfo& info) {
  struct Done {};
  auto wait = [] {
    wait_for_bpf_programs();
    return Done{};
  };
  auto nothing = [](Napi::Env env, const Done&) -> Napi::Value { return env.Undefined(); };
  return run_on_own_thread<Done>(info.Env(), wait, nothing);
}

}  // namespace serval
