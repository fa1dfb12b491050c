// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "address.h"

namespace serval {

struct ConntrackTuple {
  uint8_t protocol = 0;  // IPPROTO_TCP or IPPROTO_UDP
  Address source;        // both of one family
  Address destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
};

struct ConntrackEntry {
  ConntrackTuple original;
  ConntrackTuple reply;
  uint32_t id;
  uint32_t mark;
  uint32_t status;
  uint32_t timeout_seconds;
};

// In the calling thread's namespace, default zone; the tuple may be that of either direction.
// Every TCP and UDP entry; with `nat_only` those of which an address or a port was translated.
std::vector<ConntrackEntry> list_conntrack(bool nat_only);
std::optional<ConntrackEntry> lookup_conntrack(const ConntrackTuple& tuple);
bool delete_conntrack(const ConntrackTuple& tuple);

}  // namespace serval
