// SPDX-License-Identifier: Apache-2.0
#include "ring_buffer.h"

#include <bpf/libbpf.h>
#include <node_api.h>
#include <uv.h>

#include <cerrno>
#include <cstdint>
#include <vector>

#include "bpf_map.h"

namespace serval {

namespace {

// Records taken in one go: a flood must not keep the event loop from everything else.
constexpr size_t kBatch = 512;

}  // namespace

// Everything that must outlive the JavaScript object until libuv has closed its handle.
struct RingReader {
  RingReader(Napi::Env environment, Descriptor fd, const Napi::Function& callback)
      : env(environment), map(std::move(fd)), on_record(Napi::Persistent(callback)), context(env, "serval:RingBuffer") {}

  void open();
  void shut();

  // Copies what is there, at most kBatch records; false where more may wait.
  bool collect();
  // Every record goes to JavaScript even if the callback throws for one: it was taken out of the ring already.
  // Returns the first exception.
  Napi::Error deliver();

  static int on_sample(void* reader, void* data, size_t size);
  static void on_readable(uv_poll_t* handle, int status, int events);
  static void on_environment_exit(napi_async_cleanup_hook_handle handle, void* reader);

  Napi::Env env;
  Descriptor map;
  Napi::FunctionReference on_record;
  Napi::AsyncContext context;
  ::ring_buffer* ring = nullptr;
  uv_poll_t poll{};
  napi_async_cleanup_hook_handle hook = nullptr;
  bool polling = false;
  bool closing = false;
  std::vector<uint8_t> bytes;
  std::vector<size_t> ends;
};

void RingReader::open() {
  ring = ring_buffer__new(map.get(), on_sample, this, nullptr);
  if (ring == nullptr) {
    throw NativeFailure(errno, "ring_buffer");
  }
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    throw NativeFailure(EINVAL, "ring_buffer", "no event loop");
  }
  if (const int err = uv_poll_init(loop, &poll, ring_buffer__epoll_fd(ring)); err != 0) {
    throw NativeFailure(-err, "uv_poll_init");
  }
  polling = true;
  poll.data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(&poll));
  if (const int err = uv_poll_start(&poll, UV_READABLE, on_readable); err != 0) {
    throw NativeFailure(-err, "uv_poll_start");
  }
  // Asynchronous, so that the environment waits for libuv to close the handle.
  napi_add_async_cleanup_hook(env, on_environment_exit, this, &hook);
}

void RingReader::shut() {
  if (closing) {
    return;
  }
  closing = true;
  const auto release = [](uv_handle_t* handle) {
    auto* reader = static_cast<RingReader*>(handle->data);
    ring_buffer__free(reader->ring);
    if (reader->hook != nullptr) {
      napi_remove_async_cleanup_hook(reader->hook);
    }
    delete reader;
  };
  on_record.Reset();
  if (polling) {
    uv_close(reinterpret_cast<uv_handle_t*>(&poll), release);
  } else {
    poll.data = this;
    release(reinterpret_cast<uv_handle_t*>(&poll));
  }
}

int RingReader::on_sample(void* context, void* data, size_t size) {
  auto* reader = static_cast<RingReader*>(context);
  const auto* record = static_cast<const uint8_t*>(data);
  reader->bytes.insert(reader->bytes.end(), record, record + size);
  reader->ends.push_back(reader->bytes.size());
  // libbpf stops at a negative answer, with this record taken.
  return reader->ends.size() < kBatch ? 0 : -EAGAIN;
}

bool RingReader::collect() { return ring_buffer__consume(ring) != -EAGAIN; }

Napi::Error RingReader::deliver() {
  // Moved out first: the callback may call consume() or close().
  const std::vector<uint8_t> all = std::move(bytes);
  const std::vector<size_t> records = std::move(ends);
  bytes.clear();
  ends.clear();
  Napi::Error first;
  size_t from = 0;
  for (const size_t end : records) {
    if (closing) {
      break;
    }
    Napi::HandleScope scope(env);
    try {
      const auto record = Napi::Buffer<uint8_t>::Copy(env, all.data() + from, end - from);
      on_record.MakeCallback(env.Global(), {record}, context);
    } catch (const Napi::Error& error) {
      if (first.IsEmpty()) {
        first = error;
      }
    }
    from = end;
  }
  return first;
}

void RingReader::on_readable(uv_poll_t* handle, int, int) {
  auto* reader = static_cast<RingReader*>(handle->data);
  Napi::HandleScope scope(reader->env);
  // The poll is level-triggered: what is left over wakes the loop again.
  reader->collect();
  // The callback may close the ring buffer; libuv frees the reader only in a later turn of the loop.
  const Napi::Error error = reader->deliver();
  if (!error.IsEmpty()) {
    napi_fatal_exception(error.Env(), error.Value());
  }
}

void RingReader::on_environment_exit(napi_async_cleanup_hook_handle, void* context) {
  static_cast<RingReader*>(context)->shut();
}

Napi::Value ring_buffer(const Napi::CallbackInfo& info) {
  const int map = BpfMap::unwrap(info[0], "ring_buffer")->fd("ring_buffer");
  if (!info[1].IsFunction()) {
    throw NativeFailure(EINVAL, "ring_buffer", "expected a function");
  }
  return RingBuffer::make(info.Env(), RingBuffer::Init{duplicate(map, "ring_buffer"), info[1].As<Napi::Function>()});
}
