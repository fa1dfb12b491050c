// SPDX-License-Identifier: Apache-2.0
#include "cgroup_attach.h"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <cerrno>
#include <map>
#include <string>

#include "arguments.h"
#include "bpf_link.h"
#include "bpf_program.h"
#include "descriptor.h"
#include "error.h"

namespace serval {

namespace {

// Newer than Debian 12's headers: ours before whatever else is attached to this cgroup (6.16).
constexpr uint32_t kPreorder = 1U << 6;  // BPF_F_PREORDER

bpf_attach_type type_of(const std::string& name, const std::string& operation) {
  static const std::map<std::string, bpf_attach_type> types = {
      {"connect4", BPF_CGROUP_INET4_CONNECT},         {"connect6", BPF_CGROUP_INET6_CONNECT},
      {"sendmsg4", BPF_CGROUP_UDP4_SENDMSG},          {"sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
      {"recvmsg4", BPF_CGROUP_UDP4_RECVMSG},          {"recvmsg6", BPF_CGROUP_UDP6_RECVMSG},
      {"getpeername4", BPF_CGROUP_INET4_GETPEERNAME}, {"getpeername6", BPF_CGROUP_INET6_GETPEERNAME},
      {"sockops", BPF_CGROUP_SOCK_OPS},               {"egress", BPF_CGROUP_INET_EGRESS},
  };
  const auto found = types.find(name);
  if (found == types.end()) {
    throw NativeFailure(EINVAL, operation, "no such place in a cgroup: " + name);
  }
  return found->second;
}

}  // namespace

Napi::Value attach_cgroup(const Napi::CallbackInfo& info) {
  static constexpr char kOperation[] = "bpf_link_create(cgroup)";
  const std::string path = string_argument(info, 0, kOperation);
  const std::string name = string_argument(info, 1, kOperation);
  const std::string operation = std::string(kOperation) + " " + name;
  const bpf_attach_type type = type_of(name, operation);
  const int program = program_fd(info[2]);
  const Descriptor cgroup(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup.open()) {
    throw NativeFailure(errno, "open(" + path + ")");
  }
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  options.flags = kPreorder;
  int link = bpf_link_create(program, cgroup.get(), type, &options);
  if (link == -EINVAL) {
    options.flags = 0;
    link = bpf_link_create(program, cgroup.get(), type, &options);
  }
  if (link < 0) {
    throw NativeFailure(-link, operation);
  }
  return make_link(info.Env(), link);
}

}  // namespace serval
