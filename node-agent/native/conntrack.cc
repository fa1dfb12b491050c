// SPDX-License-Identifier: Apache-2.0
#include "conntrack.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>
#include <cstring>

#include "error.h"
#include "netlink.h"

namespace serval {

namespace {

NetlinkRequest request_for(uint8_t command, const ConntrackTuple& tuple) {
  const bool ipv4 = tuple.source.family == AF_INET;
  NetlinkRequest request(NFNL_SUBSYS_CTNETLINK << 8 | command);
  nfgenmsg header{};
  header.nfgen_family = static_cast<uint8_t>(tuple.source.family);
  header.version = NFNETLINK_V0;
  request.header(header);

  // The kernel looks the tuple up in its hash table of both directions, whichever of the two it is called here. It must
  // never be left out: a delete without a tuple flushes the table.
  const size_t whole = request.open_nested(CTA_TUPLE_ORIG);
  const size_t ip = request.open_nested(CTA_TUPLE_IP);
  request.attribute(ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.source.bytes.data(), tuple.source.size());
  request.attribute(ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.destination.bytes.data(), tuple.destination.size());
  request.close_nested(ip);
  const size_t transport = request.open_nested(CTA_TUPLE_PROTO);
  request.attribute(CTA_PROTO_NUM, tuple.protocol);
  request.attribute(CTA_PROTO_SRC_PORT, htons(tuple.source_port));
  request.attribute(CTA_PROTO_DST_PORT, htons(tuple.destination_port));
  request.close_nested(transport);
  request.close_nested(whole);
  return request;
}

Address read_address(const NetlinkAttributes& ip, uint16_t ipv4_type, uint16_t ipv6_type) {
  Address address;
  if (const auto ipv4 = ip.value<std::array<uint8_t, 4>>(ipv4_type)) {
    address.family = AF_INET;
    std::memcpy(address.bytes.data(), ipv4->data(), ipv4->size());
  } else if (const auto ipv6 = ip.value<std::array<uint8_t, 16>>(ipv6_type)) {
    address.family = AF_INET6;
    address.bytes = *ipv6;
  }
  return address;
}

ConntrackTuple read_tuple(const NetlinkAttributes& attributes) {
  const NetlinkAttributes ip = attributes.nested(CTA_TUPLE_IP);
  const NetlinkAttributes transport = attributes.nested(CTA_TUPLE_PROTO);
  ConntrackTuple tuple;
  tuple.protocol = transport.value<uint8_t>(CTA_PROTO_NUM).value_or(0);
  tuple.source = read_address(ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  tuple.destination = read_address(ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
  tuple.source_port = ntohs(transport.value<uint16_t>(CTA_PROTO_SRC_PORT).value_or(0));
  tuple.destination_port = ntohs(transport.value<uint16_t>(CTA_PROTO_DST_PORT).value_or(0));
  return tuple;
}

ConntrackEntry read_entry(const nlmsghdr& message) {
  const NetlinkAttributes attributes = NetlinkAttributes::of(message, sizeof(nfgenmsg));
  const auto number = [&](uint16_t type) { return ntohl(attributes.value<uint32_t>(type).value_or(0)); };
  return {read_tuple(attributes.nested(CTA_TUPLE_ORIG)),
          read_tuple(attributes.nested(CTA_TUPLE_REPLY)),
          number(CTA_ID),
          number(CTA_MARK),
          number(CTA_STATUS),
          number(CTA_TIMEOUT)};
}

}  // namespace

// The kernel could filter by status itself (since 5.17), but only for all of some bits, not for any of them.
std::vector<ConntrackEntry> list_conntrack(bool nat_only) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  NetlinkRequest request(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET);
  nfgenmsg header{};
  header.nfgen_family = AF_UNSPEC;
  header.version = NFNETLINK_V0;
  request.header(header);
  std::vector<ConntrackEntry> entries;
  socket.dump(request, "conntrack(dump)").each([&](const nlmsghdr& message) {
    const NetlinkAttributes attributes = NetlinkAttributes::of(message, sizeof(nfgenmsg));
    const uint32_t status = ntohl(attributes.value<uint32_t>(CTA_STATUS).value_or(0));
    if (nat_only && (status & (IPS_SRC_NAT | IPS_DST_NAT)) == 0) {
      return;
    }
    ConntrackEntry entry = read_entry(message);
    if (entry.original.protocol == IPPROTO_TCP || entry.original.protocol == IPPROTO_UDP) {
      entries.push_back(entry);
    }
  });
  return entries;
}

std::optional<ConntrackEntry> lookup_conntrack(const ConntrackTuple& tuple) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  NetlinkRequest request = request_for(IPCTNL_MSG_CT_GET, tuple);
  const NetlinkReply reply = socket.request(request, "conntrack(get)");
  if (reply.error == ENOENT) {
    return std::nullopt;
  }
  if (reply.error != 0) {
    throw NativeFailure(reply.error, "conntrack(get)");
  }
  std::optional<ConntrackEntry> entry;
  reply.each([&](const nlmsghdr& message) { entry = read_entry(message); });
  return entry;
}

bool delete_conntrack(const ConntrackTuple& tuple) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  NetlinkRequest request = request_for(IPCTNL_MSG_CT_DELETE, tuple);
  const int error = socket.request(request, "conntrack(delete)").error;
  if (error != 0 && error != ENOENT) {
    throw NativeFailure(error, "conntrack(delete)");
  }
  return error == 0;
}

}  // namespace serval
