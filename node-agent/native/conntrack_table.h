// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "conntrack.h"

namespace serval {

// Many conntrack entries on their way to JavaScript. One object at a time through N-API takes some 10 us; so all that can
// be done on another thread is done there, and a script makes the objects of a list of numbers and one string.
class ConntrackTable {
 public:
  explicit ConntrackTable(const std::vector<ConntrackEntry>& entries);

  // Array of what native.ts calls ConntrackEntry.
  Napi::Value to_js(Napi::Env env) const;

 private:
  std::vector<uint32_t> numbers_;
  std::string addresses_;
};

}  // namespace serval
