// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "handle.h"

namespace serval {

struct RingReader;

// Hands a ring buffer's records to JavaScript: woken by the event loop, without keeping the process alive.
class RingBuffer : public Handle<RingBuffer> {
 public:
  struct Init {
    RingReader* reader;
  };
  static constexpr napi_type_tag kTag = {0x5e7a1b9f00000005, 0xb1905f6e38d7c24a};
  static Napi::FunctionReference& constructor(Constructors& all) { return all.ring_buffer; }
  static void define(Napi::Env env, Constructors& all);

  explicit RingBuffer(const Napi::CallbackInfo& info);

  // The reader shut itself down, by close() or at the environment's exit.
  void forget_reader();

 private:
  Napi::Value consume(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  RingReader* reader_ = nullptr;
};

Napi::Value ring_buffer(const Napi::CallbackInfo& info);

}  // namespace serval
