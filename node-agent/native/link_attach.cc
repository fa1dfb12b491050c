// SPDX-License-Identifier: Apache-2.0
#include "link_attach.h"

#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "error.h"
#include "libbpf_log.h"
#include "netlink.h"

namespace serval {

namespace {

// Newer than the headers of libbpf 1.1 and of the kernel that they come with (linux/bpf.h, 6.6).
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr uint32_t kBefore = 1U << 3;    // BPF_F_BEFORE: with no program named, before all
constexpr uint32_t kMaxTcxPrograms = 64;  // BPF_MPROG_MAX

const char* name_of(Direction direction) { return direction == Direction::kIngress ? "ingress" : "egress"; }

std::string operation_of(const char* call, uint32_t ifindex, Direction direction) {
  return std::string(call) + "(ifindex " + std::to_string(ifindex) + ", " + name_of(direction) + ")";
}

bpf_attach_type tcx_type(Direction direction) {
  return direction == Direction::kIngress ? kTcxIngress : kTcxEgress;
}

bpf_tc_hook clsact_hook(uint32_t ifindex, bpf_tc_attach_point point) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = static_cast<int>(ifindex);
  hook.attach_point = point;
  return hook;
}

bpf_tc_hook clsact_hook(const ClsactFilter& filter) {
  return clsact_hook(filter.ifindex, filter.direction == Direction::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
}

bpf_tc_opts clsact_options(const ClsactFilter& filter) {
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = filter.handle;
  options.priority = filter.priority;
  return options;
}

void create_clsact(const ClsactFilter& filter) {
  const LibbpfLog log;
  bpf_tc_hook hook = clsact_hook(filter);
  const int err = bpf_tc_hook_create(&hook);
  if (err != 0 && err != -EEXIST) {
    throw NativeFailure(-err, operation_of("bpf_tc_hook_create", filter.ifindex, filter.direction), log.messages());
  }
}

// A filter of any kind, as the kernel dumps it.
struct TcFilter {
  uint32_t handle;
  uint32_t priority;
  bool bpf;
  uint32_t program_id;  // 0 where the filter is of another kind
};

// In the order in which they run. Nothing where the device has no clsact qdisc.
std::vector<TcFilter> tc_filters(uint32_t ifindex, Direction direction) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent =
      TC_H_MAKE(TC_H_CLSACT, direction == Direction::kIngress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
  NetlinkRequest request(RTM_GETTFILTER);
  request.header(header);

  std::vector<TcFilter> filters;
  NetlinkSocket socket(NETLINK_ROUTE);
  socket.dump(request, operation_of("tc_filter_dump", ifindex, direction)).each([&](const nlmsghdr& message) {
    const auto* found = message_header<tcmsg>(message);
    // A handle of 0 is the head of a priority's list, not a filter.
    if (found == nullptr || message.nlmsg_type != RTM_NEWTFILTER || found->tcm_handle == 0) {
      return;
    }
    const NetlinkAttributes attributes = NetlinkAttributes::of(message, sizeof(tcmsg));
    const auto id = attributes.nested(TCA_OPTIONS).value<uint32_t>(TCA_BPF_ID);
    const bool bpf = attributes.text(TCA_KIND) == "bpf";
    filters.push_back({found->tcm_handle, TC_H_MAJ(found->tcm_info) >> 16, bpf, bpf ? id.value_or(0) : 0});
  });
  return filters;
}

void destroy_empty_clsact(uint32_t ifindex) {
  for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
    if (!tc_filters(ifindex, direction).empty()) {
      return;
    }
  }
  const LibbpfLog log;
  bpf_tc_hook hook = clsact_hook(ifindex, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
  const int err = bpf_tc_hook_destroy(&hook);
  // ENOENT and EINVAL: somebody else took it away.
  if (err != 0 && err != -ENOENT && err != -EINVAL) {
    throw NativeFailure(-err, "bpf_tc_hook_destroy(ifindex " + std::to_string(ifindex) + ")", log.messages());
  }
}

std::vector<uint32_t> tcx_program_ids(uint32_t ifindex, Direction direction) {
  uint32_t ids[kMaxTcxPrograms] = {};
  bpf_attr attributes{};
  attributes.query.target_fd = ifindex;
  attributes.query.attach_type = tcx_type(direction);
  attributes.query.prog_ids = reinterpret_cast<uintptr_t>(ids);
  attributes.query.prog_cnt = kMaxTcxPrograms;
  if (syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof(attributes)) != 0) {
    // ENOENT: Linux 6.6 says so of a device without programs. EINVAL: a kernel without TCX.
    if (errno == ENOENT || errno == EINVAL) {
      return {};
    }
    throw NativeFailure(errno, operation_of("bpf_prog_query", ifindex, direction));
  }
  return {ids, ids + std::min(attributes.query.prog_cnt, kMaxTcxPrograms)};
}

void append_program(uint32_t id, bool tcx, std::vector<AttachedProgram>& programs) {
  const std::string operation = "bpf_prog_get_fd_by_id(" + std::to_string(id) + ")";
  const int fd = bpf_prog_get_fd_by_id(id);
  if (fd == -ENOENT) {
    return;  // detached since it was listed
  }
  if (fd < 0) {
    throw NativeFailure(-fd, operation);
  }
  const Descriptor program(fd);
  AttachedProgram attached{tcx, {}};
  uint32_t size = sizeof(attached.info);
  if (const int err = bpf_obj_get_info_by_fd(fd, &attached.info, &size); err != 0) {
    throw NativeFailure(-err, operation);
  }
  programs.push_back(attached);
}

}  // namespace

Descriptor attach_tcx(uint32_t ifindex, Direction direction, int program_fd) {
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  options.flags = kBefore;
  const int fd = bpf_link_create(program_fd, static_cast<int>(ifindex), tcx_type(direction), &options);
  if (fd < 0) {
    throw NativeFailure(-fd, operation_of("bpf_link_create", ifindex, direction));
  }
  return Descriptor(fd);
}

void attach_clsact(const ClsactFilter& filter, int program_fd) {
  create_clsact(filter);
  const LibbpfLog log;
  const bpf_tc_hook hook = clsact_hook(filter);
  bpf_tc_opts options = clsact_options(filter);
  options.prog_fd = program_fd;
  options.flags = BPF_TC_F_REPLACE;
  if (const int err = bpf_tc_attach(&hook, &options); err != 0) {
    throw NativeFailure(-err, operation_of("bpf_tc_attach", filter.ifindex, filter.direction), log.messages());
  }
}

// The kernel's refusal doesn't tell an absent filter from a wrong request, so it is looked for first.
bool detach_clsact(const ClsactFilter& filter) {
  const std::vector<TcFilter> present = tc_filters(filter.ifindex, filter.direction);
  const bool found = std::any_of(present.begin(), present.end(), [&](const TcFilter& one) {
    return one.bpf && one.handle == filter.handle && one.priority == filter.priority;
  });
  if (!found) {
    return false;
  }
  const LibbpfLog log;
  const bpf_tc_hook hook = clsact_hook(filter);
  const bpf_tc_opts options = clsact_options(filter);
  if (const int err = bpf_tc_detach(&hook, &options); err != 0 && err != -ENOENT) {
    throw NativeFailure(-err, operation_of("bpf_tc_detach", filter.ifindex, filter.direction), log.messages());
  }
  destroy_empty_clsact(filter.ifindex);
  return true;
}

std::vector<AttachedProgram> attached_programs(uint32_t ifindex, Direction direction) {
  std::vector<AttachedProgram> programs;
  for (const uint32_t id : tcx_program_ids(ifindex, direction)) {
    append_program(id, true, programs);
  }
  for (const TcFilter& filter : tc_filters(ifindex, direction)) {
    if (filter.program_id != 0) {
      append_program(filter.program_id, false, programs);
    }
  }
  return programs;
}

}  // namespace serval
