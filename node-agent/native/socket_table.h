// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sock_diag.h"

namespace serval {

// A list of sockets on its way to JavaScript: packed off the JavaScript thread, and made into objects there by one call
// into JavaScript. 10,000 sockets take a few milliseconds so, and 60 where every property is set from here.
class SocketTable {
 public:
  explicit SocketTable(const std::vector<SocketRecord>& sockets);

  Napi::Value to_js(Napi::Env env) const;

 private:
  std::vector<uint32_t> numbers_;
  std::string addresses_;
};

}  // namespace serval
