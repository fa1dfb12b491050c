// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

#include "descriptor.h"
#include "error.h"

namespace serval {

namespace {

// Debian 12's headers don't know them yet.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr int kLoopback = 1;

// A refusal for want of rights says nothing about the kernel.
int unless_forbidden(int result, const char* operation) {
  if (result == -EPERM || result == -EACCES) {
    throw NativeFailure(-result, operation);
  }
  return result;
}

// The kernel describes its own types, as tracing tools and relocated objects need.
bool has_btf() {
  const Descriptor file(open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC));
  btf_header header{};
  return file.open() && read(file.get(), &header, sizeof(header)) == sizeof(header) && header.magic == BTF_MAGIC;
}

bool has_tcx() {
  __u32 count = 0;
  const int result = bpf_prog_query(kLoopback, kTcxIngress, 0, nullptr, nullptr, &count);
  return unless_forbidden(result, "bpf_prog_query(tcx)") == 0;
}

bool has_ring_buffer() {
  const auto size = static_cast<__u32>(sysconf(_SC_PAGESIZE));
  return Descriptor(unless_forbidden(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "probe_ring", 0, 0, size, nullptr),
                                     "bpf_map_create(ring buffer)"))
      .open();
}

bool has_batch() {
  const Descriptor map(unless_forbidden(
      bpf_map_create(BPF_MAP_TYPE_HASH, "probe_batch", sizeof(__u32), sizeof(__u32), 1, nullptr), "bpf_map_create"));
  const __u32 key = 0;
  const __u32 value = 0;
  __u32 count = 1;
  return map.open() && bpf_map_update_batch(map.get(), &key, &value, &count, nullptr) == 0;
}

// The cookie in tc programs, which came years after the socket option.
bool has_netns_cookie() {
  const bpf_insn program[] = {
      {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_netns_cookie},
      {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  return Descriptor(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "probe_cookie", "Apache-2.0", program, std::size(program),
                                  nullptr))
      .open();
}

// The kfunc that shows a tc program the kernel's own sk_buff (6.2).
bool has_kernel_context() {
  btf* kernel = btf__load_vmlinux_btf();
  const bool found = kernel != nullptr && btf__find_by_name_kind(kernel, "bpf_cast_to_kern_ctx", BTF_KIND_FUNC) > 0;
  btf__free(kernel);
  return found;
}

}  // namespace

Napi::Value probe(const Napi::CallbackInfo& info) {
  Napi::Object result = Napi::Object::New(info.Env());
  result["btf"] = has_btf();
  result["tcx"] = has_tcx();
  result["ringBuffer"] = has_ring_buffer();
  result["batch"] = has_batch();
  result["netnsCookie"] = has_netns_cookie();
  result["kernelContext"] = has_kernel_context();
  return result;
}

Napi::Value possible_cpus(const Napi::CallbackInfo& info) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) {
    throw NativeFailure(-cpus, "num_possible_cpus");
  }
  return Napi::Number::New(info.Env(), cpus);
}

}  // namespace serval
