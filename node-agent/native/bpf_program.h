// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "descriptor.h"
#include "handle.h"

struct bpf_prog_info;

namespace serval {

// Of a JavaScript BpfProgram, still owned by it. Throws NativeFailure: EINVAL for anything else, EBADF once closed.
int program_fd(Napi::Value value);

// {id, name, tag}: what native.ts calls ProgramInfo.
Napi::Object program_info(Napi::Env env, const struct bpf_prog_info& info);

class BpfProgram : public Handle<BpfProgram> {
 public:
  struct Init {
    Descriptor fd;
    std::string name;
  };
  static constexpr napi_type_tag kTag = {0x5e7a1b9f00000003, 0x9d1c4b7e6a2f8053};
  static Napi::FunctionReference& constructor(Constructors& all) { return all.program; }
  static void define(Napi::Env env, Constructors& all);

  explicit BpfProgram(const Napi::CallbackInfo& info);

  // Throws EBADF once closed.
  int fd(const char* call) const { return fd_.use(operation(call)); }

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value pin(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::string operation(const char* call) const { return std::string(call) + "(" + name_ + ")"; }

  Descriptor fd_;
  std::string name_;
};

Napi::Object make_program(Napi::Env env, Descriptor fd);

Napi::Value open_pinned_program(const Napi::CallbackInfo& info);

}  // namespace serval
