// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "handle.h"

struct bpf_map;
struct bpf_object;

namespace serval {

// An ELF object of BPF programs: opened, then configured, then loaded.
class BpfObject : public Handle<BpfObject> {
 public:
  struct Init {
    std::string path;
    std::shared_ptr<bpf_object> object;
  };
  static constexpr napi_type_tag kTag = {0x5e7a1b9f00000001, 0x2b6f90d3c81e4a75};
  static Napi::FunctionReference& constructor(Constructors& all) { return all.object; }
  static void define(Napi::Env env, Constructors& all);

  explicit BpfObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value set_variable(const Napi::CallbackInfo& info);
  Napi::Value set_max_entries(const Napi::CallbackInfo& info);
  Napi::Value reuse_map(const Napi::CallbackInfo& info);
  Napi::Value set_autoload(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value program_names(const Napi::CallbackInfo& info);
  Napi::Value map(const Napi::CallbackInfo& info);
  Napi::Value program(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  bpf_object* opened(const std::string& operation) const;
  bpf_object* not_yet_loaded(const std::string& operation) const;

  std::string path_;
  // Shared with the thread that loads it: close() may come meanwhile.
  std::shared_ptr<bpf_object> object_;
  bool load_tried_ = false;
  std::shared_ptr<std::atomic<bool>> loading_ = std::make_shared<std::atomic<bool>>(false);
};

Napi::Value open_object(const Napi::CallbackInfo& info);

}  // namespace serval
