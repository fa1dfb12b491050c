// SPDX-License-Identifier: Apache-2.0
#include "bpf_map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "arguments.h"
#include "bpf_program.h"

namespace serval {

namespace {

constexpr int kEnotsupp = 524;  // kernel-internal, but what a map type without batch operations answers
constexpr uint32_t kEntriesChunk = 4096;
constexpr int kStallsMax = 20;
constexpr useconds_t kStallPause = 1000;

bool is_per_cpu(uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

// EINVAL is what a kernel without the command says; where an argument is wrong the single operation says so too.
bool lacks_batch(int err) { return err == kEnotsupp || err == EOPNOTSUPP || err == EINVAL; }

// A map that allocates on demand does so without waiting; a moment later there may be memory.
bool may_pass(int err) { return err == ENOMEM || err == EAGAIN || err == EINTR; }

// A batch that fails early leaves its count as it was; one that stops halfway says how far it came.
uint32_t progress(uint32_t asked, uint32_t reported) { return reported < asked ? reported : 0; }

}  // namespace

Napi::Object make_map(Napi::Env env, Descriptor fd) {
  BpfMap::Init init{std::move(fd), {}, 0};
  __u32 length = sizeof(init.shape);
  if (const int err = bpf_obj_get_info_by_fd(init.fd.get(), &init.shape, &length); err != 0) {
    throw NativeFailure(-err, "bpf_obj_get_info(map)");
  }
  init.value_stride = init.shape.value_size;
  if (is_per_cpu(init.shape.type)) {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 0) {
      throw NativeFailure(-cpus, "num_possible_cpus");
    }
    init.value_stride = (init.shape.value_size + 7) / 8 * 8 * static_cast<size_t>(cpus);
  }
  return BpfMap::make(env, std::move(init));
}

Napi::Value open_pinned_map(const Napi::CallbackInfo& info) {
  return make_map(info.Env(), open_pinned(string_argument(info, 0, "bpf_obj_get"), PinnedKind::kMap));
}

BpfMap::BpfMap(const Napi::CallbackInfo& info) : Handle(info) {
  Init& init = init_of<Init>(info);
  fd_ = std::move(init.fd);
  shape_ = init.shape;
  value_stride_ = init.value_stride;
}

Napi::Value BpfMap::info(const Napi::CallbackInfo& info) {
  fd("bpf_map_info");
  Napi::Object result = Napi::Object::New(info.Env());
  result["id"] = shape_.id;
  result["name"] = shape_.name;
  result["type"] = shape_.type;
  result["keySize"] = shape_.key_size;
  result["valueSize"] = shape_.value_size;
  result["maxEntries"] = shape_.max_entries;
  result["flags"] = shape_.map_flags;
  return result;
}

Napi::Value BpfMap::pin(const Napi::CallbackInfo& info) {
  serval::pin(fd("bpf_obj_pin"), string_argument(info, 0, operation("bpf_obj_pin")));
  return info.Env().Undefined();
}

Napi::Value BpfMap::lookup(const Napi::CallbackInfo& info) {
  const int map = fd("bpf_map_lookup");
  const uint8_t* key = sized_bytes(info[0], shape_.key_size, operation("bpf_map_lookup"));
  auto value = Napi::Buffer<uint8_t>::New(info.Env(), value_stride_);
  if (const int err = -bpf_map_lookup_elem(map, key, value.Data()); err == ENOENT) {
    return info.Env().Undefined();
  } else if (err != 0) {
    throw NativeFailure(err, operation("bpf_map_lookup"));
  }
  return value;
}

Napi::Value BpfMap::update(const Napi::CallbackInfo& info) {
  const int map = fd("bpf_map_update");
  const uint8_t* key = sized_bytes(info[0], shape_.key_size, operation("bpf_map_update"));
  const uint8_t* value = sized_bytes(info[1], value_stride_, operation("bpf_map_update"));
  if (const int err = bpf_map_update_elem(map, key, value, BPF_ANY); err != 0) {
    throw NativeFailure(-err, operation("bpf_map_update"));
  }
  return info.Env().Undefined();
}

Napi::Value BpfMap::set_program(const Napi::CallbackInfo& info) {
  const int map = fd("bpf_map_update");
  const uint32_t index = number_value(info[0], UINT32_MAX, operation("bpf_map_update"));
  const int program = program_fd(info[1]);
  if (shape_.type != BPF_MAP_TYPE_PROG_ARRAY) {
    throw NativeFailure(EINVAL, operation("bpf_map_update"), "this map holds no programs");
  }
  if (const int err = bpf_map_update_elem(map, &index, &program, BPF_ANY); err != 0) {
    throw NativeFailure(-err, operation("bpf_map_update"));
  }
  return info.Env().Undefined();
}

Napi::Value BpfMap::remove(const Napi::CallbackInfo& info) {
  const int map = fd("bpf_map_delete");
  const uint8_t* key = sized_bytes(info[0], shape_.key_size, operation("bpf_map_delete"));
  const int err = -bpf_map_delete_elem(map, key);
  if (err != 0 && err != ENOENT) {
    throw NativeFailure(err, operation("bpf_map_delete"));
  }
  return Napi::Boolean::New(info.Env(), err == 0);
}

void BpfMap::update_one_by_one(const uint8_t* keys, const uint8_t* values, uint32_t count) const {
  for (uint32_t i = 0; i < count; i++) {
    const int err = bpf_map_update_elem(fd_.get(), keys + size_t{i} * shape_.key_size,
                                        values + i * value_stride_, BPF_ANY);
    if (err != 0) {
      NativeFailure failure(-err, operation("bpf_map_update"));
      failure.done = i;
      throw failure;
    }
  }
}

Napi::Value BpfMap::update_batch(const Napi::CallbackInfo& info) {
  const std::string what = operation("bpf_map_update_batch");
  const int map = fd("bpf_map_update_batch");
  const uint32_t count = number_value(info[2], UINT32_MAX, what);
  const uint8_t* keys = sized_bytes(info[0], size_t{count} * shape_.key_size, what);
  const uint8_t* values = sized_bytes(info[1], count * value_stride_, what);

  int stalls = 0;
  for (uint32_t done = 0; done < count;) {
    const uint32_t asked = count - done;
    uint32_t reported = asked;
    const int err = -bpf_map_update_batch(map, keys + size_t{done} * shape_.key_size,
                                          values + done * value_stride_, &reported, nullptr);
    if (err == 0) {
      break;
    }
    const uint32_t step = progress(asked, reported);
    done += step;
    if (done == 0 && lacks_batch(err)) {
      update_one_by_one(keys, values, count);
      break;
    }
    stalls = step > 0 ? 0 : stalls + 1;
    if (!may_pass(err) || stalls > kStallsMax) {
      NativeFailure failure(err, what);
      failure.done = done;
      throw failure;
    }
    usleep(kStallPause);
  }
  return Napi::Number::New(info.Env(), count);
}

uint32_t BpfMap::delete_one_by_one(const uint8_t* keys, uint32_t count) const {
  uint32_t deleted = 0;
  for (uint32_t i = 0; i < count; i++) {
    const int err = -bpf_map_delete_elem(fd_.get(), keys + size_t{i} * shape_.key_size);
    if (err != 0 && err != ENOENT) {
      throw NativeFailure(err, operation("bpf_map_delete"));
    }
    deleted += err == 0;
  }
  return deleted;
}

Napi::Value BpfMap::delete_batch(const Napi::CallbackInfo& info) {
  const std::string what = operation("bpf_map_delete_batch");
  const int map = fd("bpf_map_delete_batch");
  const uint32_t count = number_value(info[1], UINT32_MAX, what);
  const uint8_t* keys = sized_bytes(info[0], size_t{count} * shape_.key_size, what);

  uint32_t deleted = 0;
  int stalls = 0;
  for (uint32_t position = 0; position < count;) {
    const uint32_t asked = count - position;
    uint32_t reported = asked;
    const int err = -bpf_map_delete_batch(map, keys + size_t{position} * shape_.key_size, &reported, nullptr);
    if (err == 0) {
      deleted += asked;
      break;
    }
    const uint32_t step = progress(asked, reported);
    position += step;
    deleted += step;
    if (err == ENOENT) {
      position++;
      continue;
    }
    if (position == 0 && lacks_batch(err)) {
      deleted = delete_one_by_one(keys, count);
      break;
    }
    stalls = step > 0 ? 0 : stalls + 1;
    if (!may_pass(err) || stalls > kStallsMax) {
      throw NativeFailure(err, what);
    }
    usleep(kStallPause);
  }
  return Napi::Number::New(info.Env(), deleted);
}

// False, with nothing collected, where the kernel has no batch for this type or can't finish one.
bool BpfMap::entries_by_batch(Entries& all) const {
  // The kernel's cursor: a key for arrays and tries, four bytes for hash tables.
  std::vector<uint8_t> cursor(std::max<size_t>(shape_.key_size, 8));
  bool first = true;
  uint32_t chunk = std::clamp(shape_.max_entries, 1U, kEntriesChunk);
  for (;;) {
    all.keys.resize((all.count + chunk) * shape_.key_size);
    all.values.resize((all.count + chunk) * value_stride_);
    uint32_t got = chunk;
    std::vector<uint8_t> next(cursor.size());
    const int err = -bpf_map_lookup_batch(fd_.get(), first ? nullptr : cursor.data(), next.data(),
                                          all.keys.data() + all.count * shape_.key_size,
                                          all.values.data() + all.count * value_stride_, &got, nullptr);
    if (err == ENOSPC && chunk < 2 * size_t{shape_.max_entries}) {
      chunk *= 2;  // one bucket of the kernel's holds more than that
      continue;
    }
    if (err != 0 && err != ENOENT) {
      all.count = 0;
      if (lacks_batch(err) || err == EINTR) {
        return false;
      }
      throw NativeFailure(err, operation("bpf_map_lookup_batch"));
    }
    all.count += got;
    if (err == ENOENT || got == 0) {
      return true;
    }
    cursor.swap(next);
    first = false;
  }
}

void BpfMap::entries_one_by_one(Entries& all) const {
  std::vector<uint8_t> key(shape_.key_size);
  std::vector<uint8_t> value(value_stride_);
  all.keys.clear();
  all.values.clear();
  bool first = true;
  // Bounded: after a key that vanished meanwhile the kernel starts over.
  for (uint32_t visited = 0; visited < shape_.max_entries; visited++) {
    int err = -bpf_map_get_next_key(fd_.get(), first ? nullptr : key.data(), key.data());
    if (err == ENOENT) {
      return;
    }
    first = false;
    if (err == 0) {
      err = -bpf_map_lookup_elem(fd_.get(), key.data(), value.data());
    }
    if (err == ENOENT) {
      continue;
    }
    if (err != 0) {
      throw NativeFailure(err, operation("bpf_map_get_next_key"));
    }
    all.keys.insert(all.keys.end(), key.begin(), key.end());
    all.values.insert(all.values.end(), value.begin(), value.end());
    all.count++;
  }
}

Napi::Value BpfMap::entries(const Napi::CallbackInfo& info) {
  fd("bpf_map_lookup_batch");
  Entries all;
  if (!entries_by_batch(all)) {
    entries_one_by_one(all);
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result["count"] = Napi::Number::New(info.Env(), static_cast<double>(all.count));
  result["keys"] = Napi::Buffer<uint8_t>::Copy(info.Env(), all.keys.data(), all.count * shape_.key_size);
  result["values"] = Napi::Buffer<uint8_t>::Copy(info.Env(), all.values.data(), all.count * value_stride_);
  return result;
}

// The memory stays mapped for as long as JavaScript refers to it, whether or not the map is closed.
Napi::Value BpfMap::mapped(const Napi::CallbackInfo& info) {
  const int map = fd("mmap");
  const size_t stride = (shape_.value_size + 7) / 8 * 8;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t elements = shape_.max_entries;
  if (!info[0].IsUndefined()) {
    elements = number_value(info[0], shape_.max_entries, "mmap");
  }
  const size_t bytes = stride * elements;
  const size_t size = (bytes + page - 1) / page * page;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  if (memory == MAP_FAILED) {
    throw NativeFailure(errno, operation("mmap"));
  }
  auto unmap = [size](Napi::Env, uint8_t* data) { munmap(data, size); };
  return Napi::Buffer<uint8_t>::New(info.Env(), static_cast<uint8_t*>(memory), bytes, unmap);
}

Napi::Value BpfMap::close(const Napi::CallbackInfo& info) {
  fd_.reset();
  return info.Env().Undefined();
}

void BpfMap::define(Napi::Env env, Constructors& all) {
  all.map = Napi::Persistent(DefineClass(env, "BpfMap",
                                         {
                                             method_of<&BpfMap::info>("info"),
                                             method_of<&BpfMap::pin>("pin"),
                                             method_of<&BpfMap::lookup>("lookup"),
                                             method_of<&BpfMap::update>("update"),
                                             method_of<&BpfMap::set_program>("setProgram"),
                                             method_of<&BpfMap::remove>("delete"),
                                             method_of<&BpfMap::update_batch>("updateBatch"),
                                             method_of<&BpfMap::delete_batch>("deleteBatch"),
                                             method_of<&BpfMap::entries>("entries"),
                                             method_of<&BpfMap::mapped>("mapped"),
                                             method_of<&BpfMap::close>("close"),
                                         }));
}

}  // namespace serval
