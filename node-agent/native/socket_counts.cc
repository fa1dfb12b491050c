// SPDX-License-Identifier: Apache-2.0
#include "socket_counts.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <bitset>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <unordered_map>

#include "error.h"
#include "netlink.h"
#include "sock_diag.h"

namespace serval {

namespace {

constexpr uint32_t kEstablished = 1U << 1;
constexpr uint32_t kUnconnected = 1U << 7;  // UDP only
constexpr uint32_t kListening = 1U << 10;

using Ports = std::bitset<UINT16_MAX + 1>;

uint64_t thread_cpu_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_nsec) / 1'000;
}

Address local_address(const inet_diag_msg& message) {
  Address address;
  address.family = message.idiag_family;
  std::memcpy(address.bytes.data(), message.id.idiag_src, address.size());
  return address;
}

// A hash table's key: family, address, port, and one more bit.
std::string key_of(const Address& address, uint16_t port, bool flag) {
  std::string key(reinterpret_cast<const char*>(address.bytes.data()), address.size());
  key.append(reinterpret_cast<const char*>(&port), sizeof(port));
  key.push_back(flag ? 1 : 0);
  return key;
}

std::vector<ListeningPort> find_listening(int protocol) {
  std::unordered_map<std::string, ListeningPort> found;
  const bool tcp = protocol == IPPROTO_TCP;
  each_socket(protocol, tcp ? kListening : kUnconnected, [&](const nlmsghdr& message, const inet_diag_msg& socket) {
    const uint16_t port = ntohs(socket.id.idiag_sport);
    if (port == 0) {
      return;
    }
    const auto attributes = NetlinkAttributes::of(message, sizeof(inet_diag_msg));
    const bool ipv6_only = attributes.value<uint8_t>(INET_DIAG_SKV6ONLY).value_or(0) != 0;
    const Address address = unmapped(local_address(socket));
    auto& entry = found.try_emplace(key_of(address, port, ipv6_only), ListeningPort{address, port, 0, ipv6_only})
                      .first->second;
    entry.backlog += tcp ? socket.idiag_rqueue : 0;
  });
  std::vector<ListeningPort> listening;
  for (const auto& [key, entry] : found) {
    listening.push_back(entry);
  }
  return listening;
}

std::vector<ConnectedPort> count_connected(int protocol, const Ports& ports) {
  std::unordered_map<std::string, ConnectedPort> found;
  each_socket(protocol, kEstablished, [&](const nlmsghdr&, const inet_diag_msg& socket) {
    const uint16_t port = ntohs(socket.id.idiag_sport);
    if (!ports.test(port)) {
      return;
    }
    const Address address = unmapped(local_address(socket));
    found.try_emplace(key_of(address, port, false), ConnectedPort{address, port, 0}).first->second.sockets++;
  });
  std::vector<ConnectedPort> connected;
  for (const auto& [key, entry] : found) {
    connected.push_back(entry);
  }
  return connected;
}

template <typename Entry>
Ports ports_of(const std::vector<Entry>& entries) {
  Ports ports;
  for (const auto& entry : entries) {
    ports.set(entry.port);
  }
  return ports;
}

}  // namespace

SocketCounts count_sockets(int protocol) {
  const uint64_t start = thread_cpu_us();
  SocketCounts counts{};
  counts.listening = find_listening(protocol);
  if (!counts.listening.empty()) {
    counts.connected = count_connected(protocol, ports_of(counts.listening));
  }
  if (protocol == IPPROTO_UDP) {
    const Ports connected = ports_of(counts.connected);
    const auto idle = [&](const ListeningPort& entry) { return !connected.test(entry.port); };
    counts.listening.erase(std::remove_if(counts.listening.begin(), counts.listening.end(), idle),
                           counts.listening.end());
  }
  counts.cpu_us = thread_cpu_us() - start;
  return counts;
}

}  // namespace serval
