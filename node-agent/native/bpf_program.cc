// SPDX-License-Identifier: Apache-2.0
#include "bpf_program.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "arguments.h"

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2)
#endif

namespace serval {

namespace {

// Room for headers that a program adds.
constexpr size_t kGrowth = 256;

bpf_prog_info kernel_info(int fd, const std::string& operation) {
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (const int err = bpf_obj_get_info_by_fd(fd, &info, &length); err != 0) {
    throw NativeFailure(-err, operation);
  }
  return info;
}

uint32_t number_field(const Napi::Object& object, const char* name, uint32_t otherwise, uint32_t highest,
                      const std::string& operation) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? otherwise : number_value(value, highest, operation + "." + name);
}

}  // namespace

int program_fd(Napi::Value value) { return BpfProgram::unwrap(value, "program_fd")->fd("program_fd"); }

Napi::Object program_info(Napi::Env env, const bpf_prog_info& info) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string tag;
  for (const uint8_t byte : info.tag) {
    tag += kDigits[byte >> 4];
    tag += kDigits[byte & 15];
  }
  Napi::Object result = Napi::Object::New(env);
  result["id"] = info.id;
  result["name"] = info.name;
  result["tag"] = tag;
  return result;
}

Napi::Object make_program(Napi::Env env, Descriptor fd) {
  const std::string name = kernel_info(fd.get(), "bpf_obj_get_info(program)").name;
  return BpfProgram::make(env, BpfProgram::Init{std::move(fd), name});
}

Napi::Value open_pinned_program(const Napi::CallbackInfo& info) {
  return make_program(info.Env(), open_pinned(string_argument(info, 0, "bpf_obj_get"), PinnedKind::kProgram));
}

BpfProgram::BpfProgram(const Napi::CallbackInfo& info) : Handle(info) {
  Init& init = init_of<Init>(info);
  fd_ = std::move(init.fd);
  name_ = init.name;
}

Napi::Value BpfProgram::info(const Napi::CallbackInfo& info) {
  return program_info(info.Env(), kernel_info(fd("bpf_prog_info"), operation("bpf_prog_info")));
}

Napi::Value BpfProgram::pin(const Napi::CallbackInfo& info) {
  serval::pin(fd("bpf_obj_pin"), string_argument(info, 0, operation("bpf_obj_pin")));
  return info.Env().Undefined();
}

Napi::Value BpfProgram::run(const Napi::CallbackInfo& info) {
  const std::string what = operation("bpf_prog_test_run");
  if (!info[0].IsObject()) {
    throw NativeFailure(EINVAL, what, "expected an object");
  }
  const Napi::Object input = info[0].As<Napi::Object>();
  __sk_buff context{};
  context.mark = number_field(input, "mark", 0, UINT32_MAX, what);
  context.gso_size = number_field(input, "gsoSize", 0, UINT16_MAX, what);
  context.gso_segs = number_field(input, "gsoSegments", 0, UINT16_MAX, what);
  const uint32_t repeat = number_field(input, "repeat", 1, INT32_MAX, what);
  const bool checksum_complete = input.Get("checksumComplete").ToBoolean();
  const Napi::Value data = input.Get("data");

  // Nothing of JavaScript runs from here to the system call: a getter could close the program or detach the data.
  const int program = fd("bpf_prog_test_run");
  const Bytes frame = bytes_value(data, what);
  std::vector<uint8_t> out(frame.size + kGrowth);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame.data;
  options.data_size_in = static_cast<__u32>(frame.size);
  options.data_out = out.data();
  options.data_size_out = static_cast<__u32>(out.size());
  options.repeat = static_cast<int>(repeat);
  options.flags = checksum_complete ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0;
  if (context.mark != 0 || context.gso_size != 0 || context.gso_segs != 0) {
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
  }
  if (const int err = bpf_prog_test_run_opts(program, &options); err != 0) {
    throw NativeFailure(-err, what);
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result["verdict"] = static_cast<int32_t>(options.retval);
  const size_t size = std::min<size_t>(options.data_size_out, out.size());
  result["data"] = Napi::Buffer<uint8_t>::Copy(info.Env(), out.data(), size);
  result["durationNs"] = options.duration;
  return result;
}

Napi::Value BpfProgram::close(const Napi::CallbackInfo& info) {
  fd_.reset();
  return info.Env().Undefined();
}

void BpfProgram::define(Napi::Env env, Constructors& all) {
  all.program = Napi::Persistent(DefineClass(env, "BpfProgram",
                                             {
                                                 method_of<&BpfProgram::info>("info"),
                                                 method_of<&BpfProgram::pin>("pin"),
                                                 method_of<&BpfProgram::run>("run"),
                                                 method_of<&BpfProgram::close>("close"),
                                             }));
}

}  // namespace serval
