// SPDX-License-Identifier: Apache-2.0
#include "bpf_link.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "arguments.h"
#include "bpf_program.h"

namespace serval {

namespace {

// Link types that begin their information with an interface index. Debian 12's headers know the first alone.
constexpr __u32 kLinkXdp = 6;
constexpr __u32 kLinkTcx = 11;
constexpr __u32 kLinkNetkit = 13;

bool is_on_interface(__u32 type) { return type == kLinkXdp || type == kLinkTcx || type == kLinkNetkit; }

}  // namespace

Napi::Object make_link(Napi::Env env, int link_fd) {
  return BpfLink::make(env, BpfLink::Init{Descriptor(link_fd)});
}

Napi::Value open_pinned_link(const Napi::CallbackInfo& info) {
  return BpfLink::make(
      info.Env(), BpfLink::Init{open_pinned(string_argument(info, 0, "bpf_obj_get"), PinnedKind::kLink)});
}

BpfLink::BpfLink(const Napi::CallbackInfo& info) : Handle(info) { fd_ = std::move(init_of<Init>(info).fd); }

Napi::Value BpfLink::info(const Napi::CallbackInfo& info) {
  bpf_link_info kernel{};
  __u32 length = sizeof(kernel);
  if (const int err = bpf_obj_get_info_by_fd(fd_.use("bpf_link_info"), &kernel, &length); err != 0) {
    throw NativeFailure(-err, "bpf_link_info");
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result["id"] = kernel.id;
  result["programId"] = kernel.prog_id;
  result["ifindex"] = is_on_interface(kernel.type) ? kernel.xdp.ifindex : 0;
  return result;
}

Napi::Value BpfLink::pin(const Napi::CallbackInfo& info) {
  serval::pin(fd_.use("bpf_obj_pin(link)"), string_argument(info, 0, "bpf_obj_pin(link)"));
  return info.Env().Undefined();
}

Napi::Value BpfLink::update(const Napi::CallbackInfo& info) {
  const int link = fd_.use("bpf_link_update");
  if (const int err = bpf_link_update(link, program_fd(info[0]), nullptr); err != 0) {
    throw NativeFailure(-err, "bpf_link_update");
  }
  return info.Env().Undefined();
}

Napi::Value BpfLink::detach(const Napi::CallbackInfo& info) {
  if (const int err = bpf_link_detach(fd_.use("bpf_link_detach")); err != 0) {
    throw NativeFailure(-err, "bpf_link_detach");
  }
  return info.Env().Undefined();
}

Napi::Value BpfLink::close(const Napi::CallbackInfo& info) {
  fd_.reset();
  return info.Env().Undefined();
}

void BpfLink::define(Napi::Env env, Constructors& all) {
  all.link = Napi::Persistent(DefineClass(env, "BpfLink",
                                          {
                                              method_of<&BpfLink::info>("info"),
                                              method_of<&BpfLink::pin>("pin"),
                                              method_of<&BpfLink::update>("update"),
                                              method_of<&BpfLink::detach>("detach"),
                                              method_of<&BpfLink::close>("close"),
                                          }));
}

}  // namespace serval
