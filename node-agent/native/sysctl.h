// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace serval {

// A file under /proc/sys, of the network namespace that this thread is in where it has one of its own. The pieces are
// written one after the other to one open file; then what it says is read.
std::string sysctl(const std::string& name, const std::vector<std::string>& pieces);

}  // namespace serval
