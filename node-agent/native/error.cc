// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <cstring>
#include <utility>

namespace serval {

namespace {

// Kernel-internal, yet it leaks to user space wherever a map type lacks an operation; glibc has no name for it.
constexpr int kEnotsupp = 524;

// libbpf numbers its own errors from here on; strerror knows none of them.
constexpr int kLibbpfErrors = 4000;

std::string describe(int err) {
  if (err == kEnotsupp) {
    return "Operation not supported by the kernel";
  }
  if (err <= 0 || err >= kLibbpfErrors) {
    return "not a loadable BPF object";
  }
  char text[128];
  return strerror_r(err, text, sizeof(text));
}

}  // namespace

std::string error_code(int err) {
  if (err == kEnotsupp) {
    return "ENOTSUPP";
  }
  const char* name = err > 0 ? strerrorname_np(err) : nullptr;
  return name != nullptr ? name : "ELOAD";
}

NativeFailure::NativeFailure(int error_number, std::string failed_operation, std::string more, std::string log)
    : err(error_number), operation(std::move(failed_operation)), verifier_log(std::move(log)) {
  message = operation + ": " + describe(err) + " (" + error_code(err) + ")";
  if (!more.empty()) {
    message += ": " + more;
  }
}

Napi::Error to_js_error(Napi::Env env, const NativeFailure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, error_code(failure.err)));
  error.Set("errno", Napi::Number::New(env, failure.err));
  error.Set("operation", Napi::String::New(env, failure.operation));
  if (!failure.verifier_log.empty()) {
    error.Set("verifierLog", Napi::String::New(env, failure.verifier_log));
  }
  if (failure.done >= 0) {
    error.Set("done", Napi::Number::New(env, static_cast<double>(failure.done)));
  }
  return error;
}

}  // namespace serval
