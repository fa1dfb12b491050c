// SPDX-License-Identifier: Apache-2.0
#include "arguments.h"

#include <cerrno>
#include <cmath>

#include "error.h"

namespace serval {

std::string string_argument(const Napi::CallbackInfo& info, size_t index, const std::string& operation) {
  const Napi::Value value = info[index];
  if (!value.IsString()) {
    throw NativeFailure(EINVAL, operation, "expected a string");
  }
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) {
    throw NativeFailure(EINVAL, operation, "the string contains a NUL");
  }
  return text;
}

bool boolean_argument(const Napi::CallbackInfo& info, size_t index, const std::string& operation) {
  const Napi::Value value = info[index];
  if (!value.IsBoolean()) {
    throw NativeFailure(EINVAL, operation, "expected a boolean");
  }
  return value.As<Napi::Boolean>().Value();
}

uint32_t number_value(const Napi::Value& value, uint32_t highest, const std::string& operation) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= highest) || number != std::floor(number)) {
    throw NativeFailure(EINVAL, operation, "expected a whole number from 0 to " + std::to_string(highest));
  }
  return static_cast<uint32_t>(number);
}

Bytes bytes_value(const Napi::Value& value, const std::string& operation) {
  if (!value.IsBuffer()) {
    throw NativeFailure(EINVAL, operation, "expected a Buffer");
  }
  void* data = nullptr;
  size_t size = 0;
  if (napi_get_buffer_info(value.Env(), value, &data, &size) != napi_ok) {
    throw NativeFailure(EINVAL, operation, "the Buffer can't be read");
  }
  return {static_cast<uint8_t*>(data), size};
}

uint8_t* sized_bytes(const Napi::Value& value, size_t size, const std::string& operation) {
  const Bytes bytes = bytes_value(value, operation);
  if (bytes.size != size) {
    throw NativeFailure(EINVAL, operation,
                        "a Buffer of " + std::to_string(bytes.size) + " bytes where " + std::to_string(size) +
                            " are needed");
  }
  return bytes.data;
}

Words words_value(const Napi::Value& value, const std::string& operation) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    throw NativeFailure(EINVAL, operation, "expected a Uint32Array");
  }
  const auto words = value.As<Napi::Uint32Array>();
  return {words.Data(), words.ElementLength()};
}

}  // namespace serval
