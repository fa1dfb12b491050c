// SPDX-License-Identifier: Apache-2.0
#include "flow_table.h"

#include <linux/types.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "arguments.h"
#include "grace_period.h"
#include "lib/hash.h"
#include "serval_abi.h"

namespace serval {

namespace {

constexpr uint32_t kNowhere = UINT32_MAX;
constexpr size_t kBucketsMax = SAL_SLOTS_MAX;

// Buckets lie at random in memory: fetched so many entries ahead, half the time of a long insert is saved.
constexpr size_t kAhead = 8;

static_assert(sizeof(sal_slot) == 128 && sizeof(sal_bucket) == 64 && sizeof(sal_key) == 40);
static_assert(sizeof(sal_slot) % 8 == 0 && sizeof(sal_bucket) % 8 == 0, "an array map's stride is a multiple of 8");

bool same_key(const sal_key& a, const sal_key& b) { return memcmp(&a, &b, sizeof(sal_key)) == 0; }

bool was_ever_written(const sal_slot& slot) {
  static constexpr sal_key kZero{};
  return !same_key(slot.match, kZero);
}

}  // namespace

MappedArray::MappedArray(const BpfMap& map, size_t element_size, size_t elements) {
  const bpf_map_info& shape = map.shape();
  const int fd = map.fd("mmap");
  if (shape.type != BPF_MAP_TYPE_ARRAY || (shape.map_flags & BPF_F_MMAPABLE) == 0 ||
      shape.value_size != element_size || shape.max_entries < elements) {
    throw NativeFailure(EINVAL, "flow_table", std::string(shape.name) + " is not a mappable array of that shape");
  }
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_ = (element_size * shape.max_entries + page - 1) / page * page;
  void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    throw NativeFailure(errno, "mmap(" + std::string(shape.name) + ")");
  }
  data_ = memory;
}

MappedArray::MappedArray(MappedArray&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedArray& MappedArray::operator=(MappedArray&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedArray::~MappedArray() {
  if (data_ != nullptr) {
    munmap(data_, size_);
  }
}

Napi::Value flow_table(const Napi::CallbackInfo& info) {
  const BpfMap* buckets = BpfMap::unwrap(info[0], "flow_table");
  const BpfMap* slots = BpfMap::unwrap(info[1], "flow_table");
  sal_config config;
  memcpy(&config, sized_bytes(info[2], sizeof(config), "flow_table"), sizeof(config));
  if (config.abi_version != SAL_ABI_VERSION) {
    throw NativeFailure(EPROTONOSUPPORT, "flow_table",
                        "the maps have ABI version " + std::to_string(config.abi_version) + ", this is " +
                            std::to_string(SAL_ABI_VERSION));
  }
  const size_t bucket_count = size_t{config.bucket_mask} + 1;
  if ((bucket_count & config.bucket_mask) != 0 || bucket_count > kBucketsMax ||
      config.slots < 2 || config.slots > SAL_SLOTS_MAX) {
    throw NativeFailure(EINVAL, "flow_table",
                        "the number of buckets is no power of two, or there are too many, or too few slots");
  }
  return FlowTable::make(info.Env(), FlowTable::Init{MappedArray(*buckets, sizeof(sal_bucket), bucket_count),
                                                     MappedArray(*slots, sizeof(sal_slot), config.slots), &config});
}

FlowTable::FlowTable(const Napi::CallbackInfo& info) : Handle(info) {
  Init& init = init_of<Init>(info);
  bucket_memory_ = std::move(init.buckets);
  slot_memory_ = std::move(init.slots);
  bucket_mask_ = init.config->bucket_mask;
  slot_count_ = init.config->slots;
  static_assert(sizeof(seed_) == sizeof(init.config->seed));
  memcpy(seed_, init.config->seed, sizeof(seed_));
  try {
    adopt();
  } catch (const NativeFailure& failure) {
    throw to_js_error(info.Env(), failure);
  }
}

// What an earlier process published is the truth; all else follows from it.
void FlowTable::adopt() {
  position_of_.assign(slot_count_, kNowhere);
  planned_in_.assign(size_t{bucket_mask_} + 1, 0);
  const uint32_t positions = (bucket_mask_ + 1) * SAL_BUCKET_WAYS;
  for (uint32_t position = 0; position < positions; position++) {
    if (*tag_at(position) != 0) {
      adopt_entry(position);
    } else {
      *slot_at(position) = 0;  // left behind by a process that died between the two stores
    }
  }
  collect_unreferenced();
}

void FlowTable::adopt_entry(uint32_t position) {
  const uint32_t slot = *slot_at(position);
  if (slot == 0 || slot >= slot_count_ || position_of_[slot] != kNowhere) {
    throw NativeFailure(EUCLEAN, "flow_table", "a bucket names a slot that can't be");
  }
  const uint32_t hash = hash_of(slots()[slot].match);
  if ((hash & bucket_mask_) != position / SAL_BUCKET_WAYS || *tag_at(position) != sal_hash_tag(hash)) {
    throw NativeFailure(EUCLEAN, "flow_table", "an entry is not where its hash says: these maps have another seed");
  }
  position_of_[slot] = position;
  used_++;
}

// A slot that was in use before may have been retired a moment ago, by a process that died since.
void FlowTable::collect_unreferenced() {
  free_.reserve(slot_count_);
  retired_.reserve(slot_count_);
  for (uint32_t slot = slot_count_ - 1; slot > 0; slot--) {
    if (position_of_[slot] == kNowhere) {
      (was_ever_written(slots()[slot]) ? retired_ : free_).push_back(slot);
    }
  }
}

void FlowTable::check_open(const char* operation) const {
  if (bucket_memory_.data() == nullptr) {
    throw NativeFailure(EBADF, operation, "the handle is closed");
  }
}

void FlowTable::check_published(const uint32_t* slots, size_t count, const char* operation) const {
  for (size_t i = 0; i < count; i++) {
    if (slots[i] >= slot_count_ || position_of_[slots[i]] == kNowhere) {
      throw NativeFailure(ENOENT, operation, "slot " + std::to_string(slots[i]) + " is not published");
    }
  }
}

uint32_t FlowTable::hash_of(const sal_key& key) const {
  const auto* seed = reinterpret_cast<const volatile __u64*>(seed_);
  return sal_hash(&key, seed, sal_hash_prefixes(&key.tuple, seed));
}

uint8_t* FlowTable::tag_at(uint32_t position) const {
  return &buckets()[position / SAL_BUCKET_WAYS].tag[position % SAL_BUCKET_WAYS];
}

uint32_t* FlowTable::slot_at(uint32_t position) const {
  return &buckets()[position / SAL_BUCKET_WAYS].slot[position % SAL_BUCKET_WAYS];
}

uint32_t FlowTable::find_position(const sal_key& key, uint32_t hash) const {
  const uint32_t first = (hash & bucket_mask_) * SAL_BUCKET_WAYS;
  const uint8_t tag = sal_hash_tag(hash);
  for (uint32_t position = first; position < first + SAL_BUCKET_WAYS; position++) {
    if (*tag_at(position) == tag && same_key(slots()[*slot_at(position)].match, key)) {
      return position;
    }
  }
  return kNowhere;
}

Napi::Value FlowTable::find(const Napi::CallbackInfo& info) {
  check_open("flow_table_find");
  const Bytes keys = bytes_value(info[0], "flow_table_find");
  if (keys.size % sizeof(sal_key) != 0) {
    throw NativeFailure(EINVAL, "flow_table_find", "not a whole number of keys");
  }
  const size_t count = keys.size / sizeof(sal_key);
  std::vector<uint32_t> found(count);
  for (size_t i = 0; i < count; i++) {
    sal_key key;
    if (i + kAhead < count) {
      fetch_bucket(keys.data + (i + kAhead) * sizeof(key));
    }
    memcpy(&key, keys.data + i * sizeof(key), sizeof(key));
    const uint32_t position = find_position(key, hash_of(key));
    found[i] = position == kNowhere ? 0 : *slot_at(position);
  }
  auto result = Napi::Uint32Array::New(info.Env(), count);
  std::copy(found.begin(), found.end(), result.Data());
  return result;
}

// A slot for each entry, those that replace included: the old one can't be written while it is published.
void FlowTable::make_room(size_t wanted) {
  if (free_.size() >= wanted) {
    return;
  }
  if (free_.size() + retired_.size() < wanted) {
    throw NativeFailure(ENOSPC, "flow_table_insert", "the table is full");
  }
  forget_flows(retired_.size());
  wait_for_bpf_programs();
  free_oldest(retired_.size());
}

// Fragments remember slot and flow: whoever still finds the flow there has left when the wait is over.
void FlowTable::forget_flows(size_t count) {
  for (size_t i = 0; i < count; i++) {
    __atomic_store_n(&slots()[retired_[i]].flow_id, 0ULL, __ATOMIC_RELAXED);
  }
}

// The oldest end up on top and are taken first.
void FlowTable::free_oldest(size_t count) {
  const auto end = retired_.begin() + static_cast<std::ptrdiff_t>(count);
  free_.insert(free_.end(), std::make_reverse_iterator(end), retired_.rend());
  retired_.erase(retired_.begin(), end);
  freed_++;
}

// The way that a new key takes: the one that it holds already, or else an empty one that nobody of this call has.
uint32_t FlowTable::choose_way(const sal_key& key, uint32_t hash, uint32_t bucket) const {
  uint32_t taken = 0;
  for (uint32_t link = planned_in_[bucket]; link != 0; link = planned_[link - 1].next) {
    const Planned& other = planned_[link - 1];
    if (same_key(slots()[other.slot].match, key)) {
      throw NativeFailure(EINVAL, "flow_table_insert", "the same key twice in one call");
    }
    taken |= 1U << other.position % SAL_BUCKET_WAYS;
  }
  if (const uint32_t held = find_position(key, hash); held != kNowhere) {
    return held;
  }
  for (uint32_t way = 0; way < SAL_BUCKET_WAYS; way++) {
    if (buckets()[bucket].tag[way] == 0 && (taken & 1U << way) == 0) {
      return bucket * SAL_BUCKET_WAYS + way;
    }
  }
  throw NativeFailure(ENOSPC, "flow_table_insert", "a bucket is full");
}

void FlowTable::plan_one(uint32_t index, const uint8_t* body) {
  const uint32_t slot = free_[free_.size() - 1 - index];
  sal_slot& written = slots()[slot];
  memcpy(&written, body, sizeof(written));
  written.kept = 0;
  written.packets = 0;
  written.bytes = 0;
  written.kept_later = 0;
  written.kept_seq = 0;
  written.kept_ack = 0;

  const uint32_t hash = hash_of(written.match);
  const uint32_t bucket = hash & bucket_mask_;
  const uint32_t position = choose_way(written.match, hash, bucket);
  const uint32_t replaces = *tag_at(position) != 0 ? *slot_at(position) : 0;
  planned_.push_back({slot, position, replaces, planned_in_[bucket], sal_hash_tag(hash)});
  planned_in_[bucket] = index + 1;
}

// `bytes` begin with a key: alone, or in a slot.
void FlowTable::fetch_bucket(const uint8_t* bytes) const {
  sal_key key;
  memcpy(&key, bytes, sizeof(key));
  const uint32_t bucket = hash_of(key) & bucket_mask_;
  __builtin_prefetch(&buckets()[bucket]);
  __builtin_prefetch(&planned_in_[bucket]);
}

void FlowTable::plan(const uint8_t* bodies, size_t count) {
  planned_.reserve(count);
  try {
    for (size_t i = 0; i < count; i++) {
      if (i + kAhead < count) {
        fetch_bucket(bodies + (i + kAhead) * sizeof(sal_slot));
      }
      plan_one(static_cast<uint32_t>(i), bodies + i * sizeof(sal_slot));
    }
  } catch (...) {
    forget_plan();
    throw;
  }
}

void FlowTable::forget_plan() {
  for (const Planned& entry : planned_) {
    planned_in_[entry.position / SAL_BUCKET_WAYS] = 0;
  }
  planned_.clear();
}

// The slot's number, then its tag: a reader that finds the tag too early finds slot 0, which has no key.
void FlowTable::publish_one(const Planned& entry) {
  if (entry.replaces != 0) {
    const sal_slot& old = slots()[entry.replaces];
    slots()[entry.slot].packets = __atomic_load_n(&old.packets, __ATOMIC_RELAXED);
    slots()[entry.slot].bytes = __atomic_load_n(&old.bytes, __ATOMIC_RELAXED);
  }
  __atomic_store_n(slot_at(entry.position), entry.slot, __ATOMIC_RELEASE);
  position_of_[entry.slot] = entry.position;
  if (entry.replaces != 0) {
    position_of_[entry.replaces] = kNowhere;
    retired_.push_back(entry.replaces);
    return;
  }
  __atomic_store_n(tag_at(entry.position), entry.tag, __ATOMIC_RELEASE);
  used_++;
}

void FlowTable::publish() {
  for (size_t i = 0; i < planned_.size(); i++) {
    if (i + kAhead < planned_.size()) {
      __builtin_prefetch(slot_at(planned_[i + kAhead].position), 1);
    }
    publish_one(planned_[i]);
  }
  free_.resize(free_.size() - planned_.size());
}

Napi::Value FlowTable::insert(const Napi::CallbackInfo& info) {
  check_open("flow_table_insert");
  const Bytes bodies = bytes_value(info[0], "flow_table_insert");
  if (bodies.size % sizeof(sal_slot) != 0) {
    throw NativeFailure(EINVAL, "flow_table_insert", "not a whole number of slots");
  }
  const size_t count = bodies.size / sizeof(sal_slot);
  auto result = Napi::Uint32Array::New(info.Env(), count);
  make_room(count);
  plan(bodies.data, count);
  publish();
  for (size_t i = 0; i < count; i++) {
    result.Data()[i] = planned_[i].slot;
  }
  forget_plan();
  return result;
}

Napi::Value FlowTable::set_state(const Napi::CallbackInfo& info) {
  check_open("flow_table_set_state");
  const uint32_t state = number_value(info[1], SAL_STATE_ACTIVE, "flow_table_set_state");
  const Words words = words_value(info[0], "flow_table_set_state");
  check_published(words.data, words.size, "flow_table_set_state");
  for (size_t i = 0; i < words.size; i++) {
    sal_slot& slot = slots()[words.data[i]];
    // Programs touch what was kept in HELD alone, so it is ours until the state says so.
    if (state == SAL_STATE_HELD && slot.state != SAL_STATE_HELD) {
      slot.kept = 0;
      slot.kept_later = 0;
      slot.kept_seq = 0;
      slot.kept_ack = 0;
    }
    __atomic_store_n(&slot.state, static_cast<uint8_t>(state), __ATOMIC_RELEASE);
  }
  return info.Env().Undefined();
}

void FlowTable::unpublish(uint32_t slot) {
  const uint32_t position = std::exchange(position_of_[slot], kNowhere);
  if (position == kNowhere) {
    return;  // named twice in one call
  }
  // The number is cleared too: on a machine that reorders loads the next tag here could be seen with this number.
  __atomic_store_n(tag_at(position), uint8_t{0}, __ATOMIC_RELEASE);
  __atomic_store_n(slot_at(position), 0U, __ATOMIC_RELEASE);
  retired_.push_back(slot);
  used_--;
}

Napi::Value FlowTable::remove(const Napi::CallbackInfo& info) {
  check_open("flow_table_remove");
  const Words words = words_value(info[0], "flow_table_remove");
  check_published(words.data, words.size, "flow_table_remove");
  for (size_t i = 0; i < words.size; i++) {
    unpublish(words.data[i]);
  }
  return info.Env().Undefined();
}

Napi::Value FlowTable::read(const Napi::CallbackInfo& info) {
  check_open("flow_table_read");
  const Words words = words_value(info[0], "flow_table_read");
  for (size_t i = 0; i < words.size; i++) {
    if (words.data[i] >= slot_count_) {
      throw NativeFailure(ENOENT, "flow_table_read", "no slot " + std::to_string(words.data[i]));
    }
  }
  auto result = Napi::Buffer<uint8_t>::New(info.Env(), words.size * sizeof(sal_slot));
  for (size_t i = 0; i < words.size; i++) {
    memcpy(result.Data() + i * sizeof(sal_slot), &slots()[words.data[i]], sizeof(sal_slot));
  }
  return result;
}

Napi::Value FlowTable::published(const Napi::CallbackInfo& info) {
  check_open("flow_table_published");
  auto result = Napi::Uint32Array::New(info.Env(), used_);
  size_t count = 0;
  for (uint32_t slot = 1; slot < slot_count_; slot++) {
    if (position_of_[slot] != kNowhere) {
      result.Data()[count++] = slot;
    }
  }
  return result;
}

Napi::Value FlowTable::usage(const Napi::CallbackInfo& info) {
  check_open("flow_table_usage");
  Napi::Object result = Napi::Object::New(info.Env());
  result["capacity"] = slot_count_ - 1;
  result["used"] = used_;
  result["retired"] = Napi::Number::New(info.Env(), static_cast<double>(retired_.size()));
  return result;
}

// Waits on a pooled thread; what was retired meanwhile stays retired. Whoever freed slots while this waited has changed
// which are the oldest: then it leaves them to the next time.
class Recycling : public Napi::AsyncWorker {
 public:
  Recycling(Napi::Env env, Napi::Object table, FlowTable* native)
      : Napi::AsyncWorker(env, "serval recycling"),
        done_(Napi::Promise::Deferred::New(env)),
        keep_(Napi::Persistent(table)),
        table_(native),
        count_(native->retired_.size()),
        freed_(native->freed_) {
    table_->forget_flows(count_);
  }

  Napi::Promise promise() const { return done_.Promise(); }

  void Execute() override {
    try {
      wait_for_bpf_programs();
    } catch (const NativeFailure& failure) {
      failure_ = failure;
    }
  }

  void OnOK() override {
    if (failure_) {
      done_.Reject(to_js_error(Env(), *failure_).Value());
      return;
    }
    if (table_->freed_ == freed_) {
      table_->free_oldest(count_);
    }
    done_.Resolve(Napi::Number::New(Env(), static_cast<double>(count_)));
  }

 private:
  Napi::Promise::Deferred done_;
  Napi::ObjectReference keep_;
  FlowTable* table_;
  size_t count_;
  uint64_t freed_;
  std::optional<NativeFailure> failure_;
};

Napi::Value FlowTable::recycle(const Napi::CallbackInfo& info) {
  check_open("flow_table_recycle");
  auto* work = new Recycling(info.Env(), info.This().As<Napi::Object>(), this);
  Napi::Promise promise = work->promise();
  work->Queue();
  return promise;
}

Napi::Value FlowTable::close(const Napi::CallbackInfo& info) {
  bucket_memory_ = MappedArray();
  slot_memory_ = MappedArray();
  return info.Env().Undefined();
}

void FlowTable::define(Napi::Env env, Constructors& all) {
  all.flow_table = Napi::Persistent(DefineClass(env, "FlowTable",
                                                {
                                                    method_of<&FlowTable::find>("find"),
                                                    method_of<&FlowTable::insert>("insert"),
                                                    method_of<&FlowTable::set_state>("setState"),
                                                    method_of<&FlowTable::remove>("remove"),
                                                    method_of<&FlowTable::read>("read"),
                                                    method_of<&FlowTable::published>("published"),
                                                    method_of<&FlowTable::usage>("usage"),
                                                    method_of<&FlowTable::recycle>("recycle"),
                                                    method_of<&FlowTable::close>("close"),
                                                }));
}

}  // namespace serval
