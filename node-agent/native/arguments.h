// SPDX-License-Identifier: Apache-2.0
// Arguments, checked so far that no wrong one can crash the process. What makes sense is for JavaScript to say.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace serval {

std::string string_argument(const Napi::CallbackInfo& info, size_t index, const std::string& operation);

bool boolean_argument(const Napi::CallbackInfo& info, size_t index, const std::string& operation);

// A whole number in [0, highest].
uint32_t number_value(const Napi::Value& value, uint32_t highest, const std::string& operation);

// Borrowed from the JavaScript value: valid until JavaScript runs again.
struct Bytes {
  uint8_t* data;
  size_t size;
};

Bytes bytes_value(const Napi::Value& value, const std::string& operation);

// Exactly `size` bytes.
uint8_t* sized_bytes(const Napi::Value& value, size_t size, const std::string& operation);

struct Words {
  const uint32_t* data;
  size_t size;
};

Words words_value(const Napi::Value& value, const std::string& operation);

}  // namespace serval
