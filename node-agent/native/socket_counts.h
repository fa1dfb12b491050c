// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "address.h"

namespace serval {

// One address and port where flows are taken.
struct ListeningPort {
  Address address;
  uint16_t port;
  uint32_t backlog;  // connections that wait to be accepted; of all sockets that share the port
  bool ipv6_only;
};

// Connected sockets of one local address and port.
struct ConnectedPort {
  Address address;  // IPv4 where mapped
  uint16_t port;
  uint32_t sockets;
};

struct SocketCounts {
  std::vector<ListeningPort> listening;
  std::vector<ConnectedPort> connected;
  uint64_t cpu_us;  // what the calling thread has used for it
};

// Of the calling thread's namespace: where TCP listens or UDP sockets are unconnected, and how many connected sockets
// have the same port, by their local address. Other connected sockets are those of clients: they are not told. UDP ports
// without connected sockets are left out.
SocketCounts count_sockets(int protocol);

}  // namespace serval
