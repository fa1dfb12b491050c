// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "descriptor.h"

namespace serval {

// One request message under construction: a fixed header, then attributes.
class NetlinkRequest {
 public:
  explicit NetlinkRequest(uint16_t type);

  template <typename Header>
  void header(const Header& value) {
    append(&value, sizeof(value));
  }

  void attribute(uint16_t type, const void* data, size_t size);

  template <typename T>
  void attribute(uint16_t type, const T& value) {
    attribute(type, &value, sizeof(value));
  }

  // Returns what close_nested() wants.
  size_t open_nested(uint16_t type);
  void close_nested(size_t start);

  // Complete with flags and sequence number, ready to be sent (again).
  const std::vector<uint8_t>& finish(uint16_t flags, uint32_t sequence);

 private:
  void append(const void* data, size_t size);

  std::vector<uint8_t> bytes_;
};

// The attributes behind a message's fixed header. A view: the reply must outlive it.
class NetlinkAttributes {
 public:
  NetlinkAttributes() = default;
  NetlinkAttributes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  // Behind the fixed header of this message.
  static NetlinkAttributes of(const nlmsghdr& message, size_t header_size);

  NetlinkAttributes nested(uint16_t type) const;
  std::string text(uint16_t type) const;

  // Its first sizeof(T) bytes; absent where there is no such attribute or it is shorter.
  template <typename T>
  std::optional<T> value(uint16_t type) const {
    const nlattr* found = find(type);
    if (found == nullptr || found->nla_len < NLA_HDRLEN + sizeof(T)) {
      return std::nullopt;
    }
    T result;
    std::memcpy(&result, reinterpret_cast<const uint8_t*>(found) + NLA_HDRLEN, sizeof(T));
    return result;
  }

 private:
  const nlattr* find(uint16_t type) const;

  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// What the kernel answered, without acknowledgements and end marks.
struct NetlinkReply {
  int error = 0;  // positive errno
  std::vector<uint8_t> bytes;

  template <typename Visit>
  void each(Visit visit) const {
    for (size_t at = 0; at < bytes.size();) {
      const auto* message = reinterpret_cast<const nlmsghdr*>(bytes.data() + at);
      visit(*message);
      at += NLMSG_ALIGN(message->nlmsg_len);
    }
  }
};

// The fixed header of a message, where the message is long enough for it.
template <typename Header>
const Header* message_header(const nlmsghdr& message) {
  return message.nlmsg_len < NLMSG_LENGTH(sizeof(Header)) ? nullptr
                                                          : static_cast<const Header*>(NLMSG_DATA(&message));
}

// A netlink socket of the namespace of the thread that made it. What it can't deliver it throws as NativeFailure.
class NetlinkSocket {
 public:
  explicit NetlinkSocket(int protocol);

  // The kernel's refusal is the reply's `error`, for the caller to judge.
  NetlinkReply request(NetlinkRequest& request, const std::string& operation);

  // A consistent dump: taken again when the kernel says that the table changed meanwhile. A refusal is thrown.
  NetlinkReply dump(NetlinkRequest& request, const std::string& operation);

 private:
  struct Progress;

  void send(const std::vector<uint8_t>& message, const std::string& operation);
  void receive(Progress& progress, const std::string& operation);
  NetlinkReply exchange(NetlinkRequest& request, uint16_t flags, const std::string& operation, bool& interrupted);

  Descriptor fd_;
  uint32_t sequence_ = 0;
};

}  // namespace serval
