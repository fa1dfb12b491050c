// SPDX-License-Identifier: Apache-2.0
#include "ring_buffer.h"

#include <bpf/bpf.h>
#include <node_api.h>
#include <uv.h>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "bpf_map.h"
#include "descriptor.h"
#include "ring_memory.h"

namespace serval {

namespace {

// Records taken in one go: a flood must not keep the event loop from everything else.
constexpr size_t kBatch = 512;

}  // namespace

// Everything that must outlive the JavaScript object until libuv has closed its handle; frees itself after that.
struct RingReader {
  RingReader(Napi::Env environment, Descriptor fd, const Napi::Function& callback)
      : env(environment), map(std::move(fd)), on_record(Napi::Persistent(callback)), context(env, "serval:RingBuffer") {}

  void open();
  void shut();

  // Copies what is there, at most kBatch records; false where more may wait.
  bool collect();
  // Every record goes to JavaScript even if the callback throws for one: it is out of the ring already. Returns the
  // first exception.
  Napi::Error deliver();

  static void on_readable(uv_poll_t* handle, int status, int events);
  static void on_closed(uv_handle_t* handle);
  static void on_environment_exit(napi_async_cleanup_hook_handle handle, void* reader);

  Napi::Env env;
  RingBuffer* owner = nullptr;
  Descriptor map;
  Napi::FunctionReference on_record;
  Napi::AsyncContext context;
  RingMemory ring;
  uv_poll_t poll{};
  napi_async_cleanup_hook_handle hook = nullptr;
  bool polling = false;
  bool delivering = false;
  bool closing = false;
  std::vector<uint8_t> bytes;
  std::vector<size_t> ends;
};

void RingReader::open() {
  bpf_map_info shape = {};
  uint32_t length = sizeof(shape);
  if (bpf_obj_get_info_by_fd(map.get(), &shape, &length) != 0) {
    throw NativeFailure(errno, "ring_buffer");
  }
  if (shape.type != BPF_MAP_TYPE_RINGBUF) {
    throw NativeFailure(EINVAL, "ring_buffer", "the map is no ring buffer");
  }
  ring.map(map.get(), shape.max_entries);
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    throw NativeFailure(EINVAL, "ring_buffer", "no event loop");
  }
  if (const int err = uv_poll_init(loop, &poll, map.get()); err != 0) {
    throw NativeFailure(-err, "uv_poll_init");
  }
  polling = true;
  poll.data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(&poll));
  if (const int err = uv_poll_start(&poll, UV_READABLE, on_readable); err != 0) {
    throw NativeFailure(-err, "uv_poll_start");
  }
  // The asynchronous kind: the environment waits until libuv has closed the handle.
  napi_add_async_cleanup_hook(env, on_environment_exit, this, &hook);
}

void RingReader::shut() {
  if (closing) {
    return;
  }
  closing = true;
  on_record.Reset();
  if (owner != nullptr) {
    owner->forget_reader();
  }
  if (polling) {
    uv_close(reinterpret_cast<uv_handle_t*>(&poll), on_closed);
  } else {
    delete this;
  }
}

void RingReader::on_closed(uv_handle_t* handle) {
  auto* reader = static_cast<RingReader*>(handle->data);
  const napi_async_cleanup_hook_handle hook = reader->hook;
  delete reader;
  // Last: it lets the environment go.
  if (hook != nullptr) {
    napi_remove_async_cleanup_hook(hook);
  }
}

void RingReader::on_environment_exit(napi_async_cleanup_hook_handle, void* reader) {
  static_cast<RingReader*>(reader)->shut();
}

bool RingReader::collect() {
  bytes.clear();
  ends.clear();
  while (ends.size() < kBatch) {
    if (!ring.take(bytes)) {
      return true;
    }
    ends.push_back(bytes.size());
  }
  return false;
}

Napi::Error RingReader::deliver() {
  Napi::Error first;
  size_t from = 0;
  delivering = true;
  for (const size_t end : ends) {
    if (closing) {
      break;
    }
    Napi::HandleScope scope(env);
    try {
      const auto record = Napi::Buffer<uint8_t>::Copy(env, bytes.data() + from, end - from);
      on_record.MakeCallback(env.Global(), {record}, context);
    } catch (const Napi::Error& error) {
      if (first.IsEmpty()) {
        first = error;
      }
    }
    from = end;
  }
  delivering = false;
  return first;
}

void RingReader::on_readable(uv_poll_t* handle, int, int) {
  auto* reader = static_cast<RingReader*>(handle->data);
  if (reader->delivering) {
    return;
  }
  Napi::HandleScope scope(reader->env);
  // The poll is level-triggered: what is left over wakes the loop again.
  reader->collect();
  // The callback may close the ring buffer; the reader is freed only in a later turn of the loop.
  const Napi::Error error = reader->deliver();
  if (!error.IsEmpty()) {
    napi_fatal_exception(error.Env(), error.Value());
  }
}

Napi::Value ring_buffer(const Napi::CallbackInfo& info) {
  const int map = BpfMap::unwrap(info[0], "ring_buffer")->fd("ring_buffer");
  if (!info[1].IsFunction()) {
    throw NativeFailure(EINVAL, "ring_buffer", "expected a function");
  }
  auto* reader = new RingReader(info.Env(), duplicate(map, "ring_buffer"), info[1].As<Napi::Function>());
  try {
    reader->open();
    return RingBuffer::make(info.Env(), RingBuffer::Init{reader});
  } catch (...) {
    reader->shut();
    throw;
  }
}

RingBuffer::RingBuffer(const Napi::CallbackInfo& info) : Handle(info) {
  reader_ = init_of<Init>(info).reader;
  reader_->owner = this;
  // Records go on arriving while nobody holds the object.
  Ref();
}

void RingBuffer::forget_reader() {
  reader_ = nullptr;
  Unref();
}

Napi::Value RingBuffer::consume(const Napi::CallbackInfo& info) {
  RingReader* reader = reader_;
  if (reader == nullptr) {
    throw NativeFailure(EBADF, "ring_buffer_consume", "the handle is closed");
  }
  size_t records = 0;
  // From within the callback there is nothing to do: the records stay in order behind the one being delivered.
  for (bool more = !reader->delivering; more && !reader->closing;) {
    more = !reader->collect();
    records += reader->ends.size();
    const Napi::Error error = reader->deliver();
    if (!error.IsEmpty()) {
      throw error;
    }
  }
  return Napi::Number::New(info.Env(), static_cast<double>(records));
}

Napi::Value RingBuffer::close(const Napi::CallbackInfo& info) {
  if (reader_ != nullptr) {
    reader_->shut();
  }
  return info.Env().Undefined();
}

void RingBuffer::define(Napi::Env env, Constructors& all) {
  all.ring_buffer = Napi::Persistent(DefineClass(env, "RingBuffer",
                                                 {
                                                     method_of<&RingBuffer::consume>("consume"),
                                                     method_of<&RingBuffer::close>("close"),
                                                 }));
}

}  // namespace serval
