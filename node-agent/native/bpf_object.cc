// SPDX-License-Identifier: Apache-2.0
#include "bpf_object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "arguments.h"
#include "bpf_map.h"
#include "bpf_program.h"
#include "libbpf_log.h"
#include "own_thread.h"

namespace serval {

namespace {

struct Extent {
  size_t offset;
  size_t size;
};

// Where the compiler put a variable of .rodata.
Extent find_variable(const bpf_object* object, const std::string& name, const std::string& operation) {
  const btf* types = bpf_object__btf(object);
  const int section = types == nullptr ? -ENOENT : btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC);
  if (section < 0) {
    throw NativeFailure(ENOENT, operation, "the object has no BTF of a .rodata section");
  }
  const btf_type* datasec = btf__type_by_id(types, static_cast<__u32>(section));
  const btf_var_secinfo* variable = btf_var_secinfos(datasec);
  for (int i = 0; i < btf_vlen(datasec); i++, variable++) {
    const btf_type* type = btf__type_by_id(types, variable->type);
    if (name == btf__name_by_offset(types, type->name_off)) {
      return {variable->offset, variable->size};
    }
  }
  throw NativeFailure(ENOENT, operation, "no variable of this name in .rodata");
}

bpf_map* find_map(const bpf_object* object, const std::string& name, const std::string& operation) {
  bpf_map* map = bpf_object__find_map_by_name(object, name.c_str());
  if (map == nullptr) {
    throw NativeFailure(ENOENT, operation, "no map of this name in the object");
  }
  return map;
}

bpf_program* find_program(const bpf_object* object, const std::string& name, const std::string& operation) {
  bpf_program* program = bpf_object__find_program_by_name(object, name.c_str());
  if (program == nullptr) {
    throw NativeFailure(ENOENT, operation, "no program of this name in the object");
  }
  return program;
}

}  // namespace

Napi::Value open_object(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0, "bpf_object_open");
  LibbpfLog log;
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) {
    throw NativeFailure(errno, "bpf_object_open(" + path + ")", log.messages());
  }
  return BpfObject::make(info.Env(), BpfObject::Init{path, std::shared_ptr<bpf_object>(object, bpf_object__close)});
}

BpfObject::BpfObject(const Napi::CallbackInfo& info) : Handle(info) {
  Init& init = init_of<Init>(info);
  path_ = init.path;
  object_ = std::move(init.object);
}

bpf_object* BpfObject::opened(const std::string& operation) const {
  if (object_ == nullptr) {
    throw NativeFailure(EBADF, operation, "the object is closed");
  }
  if (*loading_) {
    throw NativeFailure(EBUSY, operation, "the object is being loaded");
  }
  return object_.get();
}

bpf_object* BpfObject::not_yet_loaded(const std::string& operation) const {
  bpf_object* object = opened(operation);
  if (load_tried_) {
    throw NativeFailure(EBUSY, operation, "the object was loaded already");
  }
  return object;
}

Napi::Value BpfObject::set_variable(const Napi::CallbackInfo& info) {
  const std::string name = string_argument(info, 0, "set_variable");
  const std::string operation = "set_variable(" + name + ")";
  bpf_object* object = not_yet_loaded(operation);
  const Extent extent = find_variable(object, name, operation);
  const uint8_t* value = sized_bytes(info[1], extent.size, operation);

  bpf_map* map = find_map(object, ".rodata", operation);
  size_t size = 0;
  const auto* initial = static_cast<const uint8_t*>(bpf_map__initial_value(map, &size));
  if (initial == nullptr || extent.offset + extent.size > size) {
    throw NativeFailure(EINVAL, operation, "the BTF of .rodata doesn't fit the section");
  }
  std::vector<uint8_t> changed(initial, initial + size);
  memcpy(changed.data() + extent.offset, value, extent.size);
  if (const int err = bpf_map__set_initial_value(map, changed.data(), size); err != 0) {
    throw NativeFailure(-err, operation);
  }
  return info.Env().Undefined();
}

Napi::Value BpfObject::set_max_entries(const Napi::CallbackInfo& info) {
  const std::string name = string_argument(info, 0, "set_max_entries");
  const std::string operation = "set_max_entries(" + name + ")";
  bpf_map* map = find_map(not_yet_loaded(operation), name, operation);
  LibbpfLog log;
  if (const int err = bpf_map__set_max_entries(map, number_value(info[1], UINT32_MAX, operation)); err != 0) {
    throw NativeFailure(-err, operation, log.messages());
  }
  return info.Env().Undefined();
}

Napi::Value BpfObject::reuse_map(const Napi::CallbackInfo& info) {
  const std::string name = string_argument(info, 0, "reuse_map");
  const std::string operation = "reuse_map(" + name + ")";
  bpf_map* map = find_map(not_yet_loaded(operation), name, operation);
  const BpfMap* other = BpfMap::unwrap(info[1], operation);
  const int fd = other->fd(operation.c_str());
  // libbpf takes over whatever shape the other map has; the programs were compiled for this one.
  const bpf_map_info& shape = other->shape();
  if (shape.type != bpf_map__type(map) || shape.key_size != bpf_map__key_size(map) ||
      shape.value_size != bpf_map__value_size(map)) {
    throw NativeFailure(EINVAL, operation, "type, key size or value size differ");
  }
  LibbpfLog log;
  if (const int err = bpf_map__reuse_fd(map, fd); err != 0) {
    throw NativeFailure(-err, operation, log.messages());
  }
  return info.Env().Undefined();
}

Napi::Value BpfObject::set_autoload(const Napi::CallbackInfo& info) {
  const std::string name = string_argument(info, 0, "set_autoload");
  const std::string operation = "set_autoload(" + name + ")";
  bpf_program* program = find_program(not_yet_loaded(operation), name, operation);
  if (const int err = bpf_program__set_autoload(program, boolean_argument(info, 1, operation)); err != 0) {
    throw NativeFailure(-err, operation);
  }
  return info.Env().Undefined();
}

namespace {

// The verifier gives up with EAGAIN where a signal is pending, and libbpf tries only five times: a profiler that
// samples by signals would keep programs of this size from ever being loaded.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~WithoutSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_;
};

struct Loaded {};

Loaded load_undisturbed(bpf_object* object, const std::string& path) {
  const WithoutSignals quiet;
  LibbpfLog log;
  if (const int err = bpf_object__load(object); err != 0) {
    const std::string refused = log.refused_program();
    const std::string operation =
        refused.empty() ? "bpf_object_load(" + path + ")" : "bpf_prog_load(" + refused + ")";
    const std::string verifier_log = log.verifier_log();
    throw NativeFailure(-err, operation, verifier_log.empty() ? log.messages() : std::string(), verifier_log);
  }
  return {};
}

// Lowered when the thread is through with the object, whatever came of it.
class Busy {
 public:
  explicit Busy(std::atomic<bool>& flag) : flag_(flag) {}
  ~Busy() { flag_ = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  std::atomic<bool>& flag_;
};

}  // namespace

Napi::Value BpfObject::load(const Napi::CallbackInfo& info) {
  not_yet_loaded("bpf_object_load(" + path_ + ")");
  load_tried_ = true;
  *loading_ = true;
  const auto load = [object = object_, path = path_, loading = loading_] {
    const Busy busy(*loading);
    return load_undisturbed(object.get(), path);
  };
  return run_on_own_thread<Loaded>(info.Env(), load, [](Napi::Env env, const Loaded&) { return env.Undefined(); });
}

Napi::Value BpfObject::program_names(const Napi::CallbackInfo& info) {
  bpf_object* object = opened("program_names(" + path_ + ")");
  Napi::Array names = Napi::Array::New(info.Env());
  bpf_program* program;
  bpf_object__for_each_program(program, object) {
    names[names.Length()] = Napi::String::New(info.Env(), bpf_program__name(program));
  }
  return names;
}

Napi::Value BpfObject::map(const Napi::CallbackInfo& info) {
  const std::string name = string_argument(info, 0, "bpf_object_map");
  const std::string operation = "bpf_object_map(" + name + ")";
  const int fd = bpf_map__fd(find_map(opened(operation), name, operation));
  if (fd < 0) {
    throw NativeFailure(EINVAL, operation, "the object is not loaded");
  }
  return make_map(info.Env(), duplicate(fd, operation));
}

Napi::Value BpfObject::program(const Napi::CallbackInfo& info) {
  const std::string name = string_argument(info, 0, "bpf_object_program");
  const std::string operation = "bpf_object_program(" + name + ")";
  const int fd = bpf_program__fd(find_program(opened(operation), name, operation));
  if (fd < 0) {
    throw NativeFailure(EINVAL, operation, "the program is not loaded");
  }
  return make_program(info.Env(), duplicate(fd, operation));
}

Napi::Value BpfObject::close(const Napi::CallbackInfo& info) {
  object_.reset();
  return info.Env().Undefined();
}

void BpfObject::define(Napi::Env env, Constructors& all) {
  all.object = Napi::Persistent(DefineClass(env, "BpfObject",
                                            {
                                                method_of<&BpfObject::set_variable>("setVariable"),
                                                method_of<&BpfObject::set_max_entries>("setMaxEntries"),
                                                method_of<&BpfObject::reuse_map>("reuseMap"),
                                                method_of<&BpfObject::set_autoload>("setAutoload"),
                                                method_of<&BpfObject::load>("load"),
                                                method_of<&BpfObject::program_names>("programNames"),
                                                method_of<&BpfObject::map>("map"),
                                                method_of<&BpfObject::program>("program"),
                                                method_of<&BpfObject::close>("close"),
                                            }));
}

}  // namespace serval
