// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/inet_diag.h>
#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_set>
#include <vector>

namespace serval {

// A socket as sock_diag shows it, in the kernel's own terms.
struct SocketRecord {
  int protocol;         // IPPROTO_TCP or IPPROTO_UDP
  int family;           // AF_INET or AF_INET6
  inet_diag_sockid id;  // ports and addresses in network order
  uint32_t state;
  uint32_t inode;  // 0 once its process has closed it
  uint32_t uid;
  uint32_t receive_queue;
  uint32_t send_queue;
};

// Visits each socket of the calling thread's namespace once; `states` is a mask of 1 << state. What follows the header in
// the message are attributes.
void each_socket(int protocol, uint32_t states, const std::function<void(const nlmsghdr&, const inet_diag_msg&)>& visit);

// Of the calling thread's namespace; `states` is a mask of 1 << state. With `local_ports` only sockets of these.
std::vector<SocketRecord> list_sockets(int protocol, uint32_t states,
                                       const std::optional<std::unordered_set<uint32_t>>& local_ports);

// Closes the sockets that are these still; returns how many there were. Cookies in `sockets` are not read.
uint32_t destroy_sockets(const std::vector<SocketRecord>& sockets);

}  // namespace serval
