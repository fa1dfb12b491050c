// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <string>

namespace serval {

// What went wrong in one kernel operation. It knows nothing of JavaScript, so it may be thrown and carried on any
// thread; to_js_error() turns it into what native.ts calls a NativeError.
struct NativeFailure : std::exception {
  NativeFailure(int error_number, std::string failed_operation, std::string more = {}, std::string log = {});

  const char* what() const noexcept override { return message.c_str(); }

  int err;  // positive errno, or one of libbpf's own numbers from 4000 on
  std::string operation;
  std::string verifier_log;
  std::string message;
  int64_t done = -1;  // of a batch: how many entries were written before it failed
};

// The symbolic name, e.g. EPERM; ELOAD for what is not an errno.
std::string error_code(int err);

// Only on the JavaScript thread.
Napi::Error to_js_error(Napi::Env env, const NativeFailure& failure);

// An exported function whose NativeFailure becomes a JavaScript exception:
//   exports["name"] = Napi::Function::New<guarded<&function>>(env, "name");
template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return function(info);
  } catch (const NativeFailure& failure) {
    throw to_js_error(info.Env(), failure);
  }
}

}  // namespace serval
