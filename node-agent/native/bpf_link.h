// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "descriptor.h"
#include "handle.h"

namespace serval {

// A JavaScript BpfLink that owns this descriptor from now on.
Napi::Object make_link(Napi::Env env, int link_fd);

class BpfLink : public Handle<BpfLink> {
 public:
  struct Init {
    Descriptor fd;
  };
  static constexpr napi_type_tag kTag = {0x5e7a1b9f00000004, 0x4c8e2d10b7f3a695};
  static Napi::FunctionReference& constructor(Constructors& all) { return all.link; }
  static void define(Napi::Env env, Constructors& all);

  explicit BpfLink(const Napi::CallbackInfo& info);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value pin(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value detach(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  Descriptor fd_;
};

Napi::Value open_pinned_link(const Napi::CallbackInfo& info);

}  // namespace serval
