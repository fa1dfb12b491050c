// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bpf_map.h"
#include "handle.h"

struct sal_bucket;
struct sal_config;
struct sal_key;
struct sal_slot;

namespace serval {

// The elements of an array map, mapped into this process.
class MappedArray {
 public:
  MappedArray() = default;
  MappedArray(const BpfMap& map, size_t element_size, size_t elements);
  MappedArray(MappedArray&& other) noexcept;
  MappedArray& operator=(MappedArray&& other) noexcept;
  ~MappedArray();

  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// The one writer of the flow table; native.ts says what it promises. Readers in the kernel see each change as a
// single store, of a way's tag or of its slot number, and the process may be killed between any two stores: what it
// leaves is a table of whole entries, and slots that no way names are free to whoever opens it next.
class FlowTable : public Handle<FlowTable> {
 public:
  struct Init {
    MappedArray buckets;
    MappedArray slots;
    const sal_config* config;
  };
  static constexpr napi_type_tag kTag = {0x5e7a1b9f00000006, 0xe2a8741c5d093fb6};
  static Napi::FunctionReference& constructor(Constructors& all) { return all.flow_table; }
  static void define(Napi::Env env, Constructors& all);

  explicit FlowTable(const Napi::CallbackInfo& info);

 private:
  // One entry of an insert, between planning and publishing.
  struct Planned {
    uint32_t slot;
    uint32_t position;  // bucket * SAL_BUCKET_WAYS + way
    uint32_t replaces;  // slot, or 0
    uint32_t next;      // the entry planned before this one in the same bucket, plus one; or 0
    uint8_t tag;
  };

  Napi::Value find(const Napi::CallbackInfo& info);
  Napi::Value insert(const Napi::CallbackInfo& info);
  Napi::Value set_state(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value published(const Napi::CallbackInfo& info);
  Napi::Value usage(const Napi::CallbackInfo& info);
  Napi::Value recycle(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  friend class Recycling;
  void forget_flows(size_t count);
  void free_oldest(size_t count);

  void adopt();
  void adopt_entry(uint32_t position);
  void collect_unreferenced();

  void check_open(const char* operation) const;
  // Every slot published, or ENOENT.
  void check_published(const uint32_t* slots, size_t count, const char* operation) const;

  uint32_t hash_of(const sal_key& key) const;
  uint32_t find_position(const sal_key& key, uint32_t hash) const;

  void make_room(size_t wanted);
  void fetch_bucket(const uint8_t* bytes) const;
  void plan(const uint8_t* bodies, size_t count);
  void plan_one(uint32_t index, const uint8_t* body);
  uint32_t choose_way(const sal_key& key, uint32_t hash, uint32_t bucket) const;
  void forget_plan();
  void publish_one(const Planned& entry);
  void publish();
  void unpublish(uint32_t slot);

  sal_bucket* buckets() const { return static_cast<sal_bucket*>(bucket_memory_.data()); }
  sal_slot* slots() const { return static_cast<sal_slot*>(slot_memory_.data()); }
  uint8_t* tag_at(uint32_t position) const;
  uint32_t* slot_at(uint32_t position) const;

  MappedArray bucket_memory_;
  MappedArray slot_memory_;
  uint32_t bucket_mask_ = 0;
  uint32_t slot_count_ = 0;
  uint64_t seed_[11] = {};

  std::vector<uint32_t> position_of_;  // by slot; kNowhere where it is not published
  std::vector<uint32_t> free_;
  std::vector<uint32_t> retired_;  // unpublished, but a program that is running may still read them
  uint64_t freed_ = 0;             // how often retired slots became free
  uint32_t used_ = 0;

  std::vector<Planned> planned_;
  std::vector<uint32_t> planned_in_;  // by bucket: its last planned entry, plus one; or 0
};

Napi::Value flow_table(const Napi::CallbackInfo& info);

}  // namespace serval
