// SPDX-License-Identifier: Apache-2.0
#include "sock_diag.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "error.h"
#include "netlink.h"

namespace serval {

namespace {

constexpr uint32_t kEveryState = ~0U;

std::string operation_of(const char* call, int protocol) {
  return std::string(call) + (protocol == IPPROTO_TCP ? "(tcp)" : "(udp)");
}

uint64_t cookie_of(const inet_diag_sockid& id) {
  return static_cast<uint64_t>(id.idiag_cookie[1]) << 32 | id.idiag_cookie[0];
}

SocketRecord to_record(int protocol, const inet_diag_msg& message) {
  return {protocol,           message.idiag_family, message.id,           message.idiag_state,
          message.idiag_inode, message.idiag_uid,    message.idiag_rqueue, message.idiag_wqueue};
}

using Visit = std::function<void(const nlmsghdr&, const inet_diag_msg&)>;

// IPv4-mapped sockets are of AF_INET6 and appear in that family's dump only. The cookies keep out a socket that the
// kernel shows twice because the dump's cursor moved under it.
void each_of_family(NetlinkSocket& socket, int protocol, int family, uint32_t states, const Visit& visit) {
  inet_diag_req_v2 query{};
  query.sdiag_family = static_cast<uint8_t>(family);
  query.sdiag_protocol = static_cast<uint8_t>(protocol);
  query.idiag_states = states;
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY);
  request.header(query);

  std::unordered_set<uint64_t> seen;
  socket.dump(request, operation_of("sock_diag", protocol)).each([&](const nlmsghdr& message) {
    const auto* found = message_header<inet_diag_msg>(message);
    if (found != nullptr && found->idiag_family == family && seen.insert(cookie_of(found->id)).second) {
      visit(message, *found);
    }
  });
}

std::vector<SocketRecord> list_on(NetlinkSocket& socket, int protocol, uint32_t states,
                                  const std::optional<std::unordered_set<uint32_t>>& local_ports = std::nullopt) {
  std::vector<SocketRecord> records;
  const auto take = [&](const nlmsghdr&, const inet_diag_msg& found) {
    if (!local_ports || local_ports->count(ntohs(found.id.idiag_sport)) > 0) {
      records.push_back(to_record(protocol, found));
    }
  };
  each_of_family(socket, protocol, AF_INET, states, take);
  each_of_family(socket, protocol, AF_INET6, states, take);
  return records;
}

// Everything that names a socket but its cookie, as the key of a hash table.
std::string name_of(const SocketRecord& record) {
  inet_diag_sockid id = record.id;
  std::memset(id.idiag_cookie, 0, sizeof(id.idiag_cookie));
  const size_t address_size = record.family == AF_INET ? 4 : 16;
  std::memset(reinterpret_cast<uint8_t*>(id.idiag_src) + address_size, 0, sizeof(id.idiag_src) - address_size);
  std::memset(reinterpret_cast<uint8_t*>(id.idiag_dst) + address_size, 0, sizeof(id.idiag_dst) - address_size);
  std::string name(reinterpret_cast<const char*>(&id), sizeof(id));
  name.push_back(static_cast<char>(record.family));
  return name;
}

// A socket loses its inode when its process closes it, and stays the same socket.
bool same_inode(const SocketRecord& one, const SocketRecord& other) {
  return one.inode == other.inode || one.inode == 0 || other.inode == 0;
}

bool destroy_one(NetlinkSocket& socket, const SocketRecord& record) {
  inet_diag_req_v2 query{};
  query.sdiag_family = static_cast<uint8_t>(record.family);
  query.sdiag_protocol = static_cast<uint8_t>(record.protocol);
  query.idiag_states = kEveryState;
  query.id = record.id;
  NetlinkRequest request(SOCK_DESTROY);
  request.header(query);
  const std::string operation = operation_of("sock_destroy", record.protocol);
  const int error = socket.request(request, operation).error;
  // ESTALE: the tuple is another socket's by now.
  if (error == ENOENT || error == ESTALE) {
    return false;
  }
  if (error != 0) {
    throw NativeFailure(error, operation);
  }
  return true;
}

uint32_t destroy_of_protocol(NetlinkSocket& socket, int protocol, const std::vector<SocketRecord>& sockets) {
  std::unordered_multimap<std::string, const SocketRecord*> wanted;
  for (const SocketRecord& record : sockets) {
    if (record.protocol == protocol) {
      wanted.emplace(name_of(record), &record);
    }
  }
  if (wanted.empty()) {
    return 0;
  }
  uint32_t destroyed = 0;
  for (const SocketRecord& present : list_on(socket, protocol, kEveryState)) {
    const auto [first, last] = wanted.equal_range(name_of(present));
    for (auto match = first; match != last; ++match) {
      if (same_inode(present, *match->second)) {
        destroyed += destroy_one(socket, present);
        break;
      }
    }
  }
  return destroyed;
}

}  // namespace

void each_socket(int protocol, uint32_t states, const Visit& visit) {
  NetlinkSocket socket(NETLINK_SOCK_DIAG);
  each_of_family(socket, protocol, AF_INET, states, visit);
  each_of_family(socket, protocol, AF_INET6, states, visit);
}

std::vector<SocketRecord> list_sockets(int protocol, uint32_t states,
                                       const std::optional<std::unordered_set<uint32_t>>& local_ports) {
  NetlinkSocket socket(NETLINK_SOCK_DIAG);
  return list_on(socket, protocol, states, local_ports);
}

// SOCK_DESTROY by tuple alone falls back to the listener (TCP) or the unconnected socket (UDP) of the local port where
// the socket itself is gone. So each is found in a fresh listing and destroyed by its cookie.
uint32_t destroy_sockets(const std::vector<SocketRecord>& sockets) {
  NetlinkSocket socket(NETLINK_SOCK_DIAG);
  return destroy_of_protocol(socket, IPPROTO_TCP, sockets) + destroy_of_protocol(socket, IPPROTO_UDP, sockets);
}

}  // namespace serval
