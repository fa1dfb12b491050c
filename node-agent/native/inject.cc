// SPDX-License-Identifier: Apache-2.0
#include "inject.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "descriptor.h"
#include "error.h"
#include "urgency.h"

namespace serval {

namespace {

constexpr size_t kBatch = 64;

using Packet = std::vector<uint8_t>;

// AF_INET or AF_INET6; 0 for what is no IP packet.
int family_of(const Packet& packet) {
  const int version = packet.empty() ? 0 : packet[0] >> 4;
  if (version == 4 && packet.size() >= sizeof(iphdr)) {
    return AF_INET;
  }
  return version == 6 && packet.size() >= sizeof(ip6_hdr) ? AF_INET6 : 0;
}

// Link-local addresses mean nothing without an interface: the only one that is up, else 0, which the kernel refuses.
uint32_t only_interface() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) {
    return 0;
  }
  std::set<std::string> names;
  for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
    if ((entry->ifa_flags & IFF_UP) != 0 && (entry->ifa_flags & IFF_LOOPBACK) == 0) {
      names.insert(entry->ifa_name);
    }
  }
  freeifaddrs(all);
  return names.size() == 1 ? if_nametoindex(names.begin()->c_str()) : 0;
}

// IPPROTO_RAW implies IP_HDRINCL in both families. The error reports make the kernel tell of a packet that a hook or a
// full queue dropped (ENOBUFS), which it hides otherwise. IPv6 takes a foreign source address in a control message only
// with FREEBIND; IPv4 takes any with IP_HDRINCL.
Descriptor open_raw(int family) {
  Descriptor fd(socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!fd.open()) {
    throw NativeFailure(errno, "socket(SOCK_RAW)");
  }
  const int on = 1;
  const int error = family == AF_INET ? setsockopt(fd.get(), SOL_IP, IP_RECVERR, &on, sizeof(on))
                                      : setsockopt(fd.get(), SOL_IPV6, IPV6_RECVERR, &on, sizeof(on)) |
                                            setsockopt(fd.get(), SOL_IPV6, IPV6_FREEBIND, &on, sizeof(on));
  if (error != 0) {
    throw NativeFailure(errno, "setsockopt(SOCK_RAW)");
  }
  return fd;
}

// Where one packet goes. The kernel reads neither address from the packet when it routes: the destination is the
// message's name, the source its control message (else rules and routes by source would be passed by).
struct Envelope {
  union {
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
  } destination{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo))]{};
  iovec content{};

  template <typename Info>
  void fill(mmsghdr& message, size_t destination_size, int level, int type, const Info& info) {
    auto* header = reinterpret_cast<cmsghdr*>(control);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof(info));
    std::memcpy(CMSG_DATA(header), &info, sizeof(info));
    message.msg_hdr.msg_name = &destination;
    message.msg_hdr.msg_namelen = static_cast<socklen_t>(destination_size);
    message.msg_hdr.msg_iov = &content;
    message.msg_hdr.msg_iovlen = 1;
    message.msg_hdr.msg_control = control;
    message.msg_hdr.msg_controllen = CMSG_SPACE(sizeof(info));
  }
};

void address_ipv4(const Packet& packet, Envelope& envelope, mmsghdr& message) {
  iphdr header;
  std::memcpy(&header, packet.data(), sizeof(header));
  envelope.destination.ipv4.sin_family = AF_INET;
  envelope.destination.ipv4.sin_addr.s_addr = header.daddr;
  in_pktinfo info{};
  info.ipi_spec_dst.s_addr = header.saddr;
  envelope.fill(message, sizeof(sockaddr_in), SOL_IP, IP_PKTINFO, info);
}

void address_ipv6(const Packet& packet, Envelope& envelope, mmsghdr& message, uint32_t scope) {
  ip6_hdr header;
  std::memcpy(&header, packet.data(), sizeof(header));
  envelope.destination.ipv6.sin6_family = AF_INET6;
  envelope.destination.ipv6.sin6_addr = header.ip6_dst;
  in6_pktinfo info{};
  info.ipi6_addr = header.ip6_src;
  if (IN6_IS_ADDR_LINKLOCAL(&header.ip6_dst) || IN6_IS_ADDR_MC_LINKLOCAL(&header.ip6_dst)) {
    envelope.destination.ipv6.sin6_scope_id = scope;
  }
  if (IN6_IS_ADDR_LINKLOCAL(&header.ip6_src)) {
    info.ipi6_ifindex = scope;
  }
  envelope.fill(message, sizeof(sockaddr_in6), SOL_IPV6, IPV6_PKTINFO, info);
}

class Injector {
 public:
  explicit Injector(std::vector<Packet>& packets) : packets_(packets) {}

  InjectionResult run() {
    Urgency urgency;
    for (size_t from = 0; from < packets_.size();) {
      const int family = family_of(packets_[from]);
      if (family == 0) {
        refuse(from++, EINVAL);
        continue;
      }
      size_t to = from + 1;
      while (to < packets_.size() && to - from < kBatch && family_of(packets_[to]) == family) {
        to++;
      }
      send_batch(family, from, to);
      urgency.bound();
      from = to;
    }
    return std::move(result_);
  }

 private:
  void refuse(size_t index, int error) { result_.refused.push_back({static_cast<uint32_t>(index), error}); }

  int raw_socket(int family) {
    Descriptor& fd = family == AF_INET ? ipv4_ : ipv6_;
    if (!fd.open()) {
      fd = open_raw(family);
      scope_ = family == AF_INET6 ? only_interface() : scope_;
    }
    return fd.get();
  }

  void send_batch(int family, size_t from, size_t to) {
    const int fd = raw_socket(family);
    Envelope envelopes[kBatch];
    mmsghdr messages[kBatch] = {};
    for (size_t i = 0; i < to - from; i++) {
      Packet& packet = packets_[from + i];
      envelopes[i].content = {packet.data(), packet.size()};
      if (family == AF_INET) {
        address_ipv4(packet, envelopes[i], messages[i]);
      } else {
        address_ipv6(packet, envelopes[i], messages[i], scope_);
      }
    }
    // sendmmsg stops before a refused packet and tells the reason only when that is the first one.
    for (size_t at = from; at < to;) {
      const int taken = sendmmsg(fd, messages + (at - from), static_cast<unsigned>(to - at), 0);
      if (taken > 0) {
        result_.sent += static_cast<uint32_t>(taken);
        at += static_cast<size_t>(taken);
      } else if (errno != EINTR) {
        refuse(at++, errno);
      }
    }
  }

  std::vector<Packet>& packets_;
  InjectionResult result_;
  Descriptor ipv4_;
  Descriptor ipv6_;
  uint32_t scope_ = 0;
};

}  // namespace

InjectionResult inject_packets(std::vector<std::vector<uint8_t>>& packets) { return Injector(packets).run(); }

}  // namespace serval
