// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <vector>

#include "descriptor.h"
#include "handle.h"

namespace serval {

class BpfMap : public Handle<BpfMap> {
 public:
  struct Init {
    Descriptor fd;
    bpf_map_info shape;
    size_t value_stride;
  };
  static constexpr napi_type_tag kTag = {0x5e7a1b9f00000002, 0x7d3a54c0e92b6f18};
  static Napi::FunctionReference& constructor(Constructors& all) { return all.map; }
  static void define(Napi::Env env, Constructors& all);

  explicit BpfMap(const Napi::CallbackInfo& info);

  // Throws EBADF once closed.
  int fd(const char* call) const { return fd_.use(operation(call)); }
  const bpf_map_info& shape() const { return shape_; }

 private:
  struct Entries {
    std::vector<uint8_t> keys;
    std::vector<uint8_t> values;
    size_t count = 0;
  };

  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value pin(const Napi::CallbackInfo& info);
  Napi::Value lookup(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value set_program(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value update_batch(const Napi::CallbackInfo& info);
  Napi::Value delete_batch(const Napi::CallbackInfo& info);
  Napi::Value entries(const Napi::CallbackInfo& info);
  Napi::Value mapped(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  void update_one_by_one(const uint8_t* keys, const uint8_t* values, uint32_t count) const;
  uint32_t delete_one_by_one(const uint8_t* keys, uint32_t count) const;
  bool entries_by_batch(Entries& all) const;
  void entries_one_by_one(Entries& all) const;

  std::string operation(const char* call) const { return std::string(call) + "(" + shape_.name + ")"; }

  Descriptor fd_;
  bpf_map_info shape_{};
  // Bytes that one value takes in user space: those of all possible CPUs for a per-CPU map.
  size_t value_stride_ = 0;
};

Napi::Object make_map(Napi::Env env, Descriptor fd);

Napi::Value open_pinned_map(const Napi::CallbackInfo& info);

}  // namespace serval
