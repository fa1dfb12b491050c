// SPDX-License-Identifier: Apache-2.0
#include "netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <utility>

#include "error.h"

namespace serval {

namespace {

// The kernel fills at most 32 KiB of a receive buffer in a dump.
constexpr size_t kReceiveSize = 32 * 1024;

// A table that changes faster than it can be read this often is not worth waiting for.
constexpr int kDumpAttempts = 8;

// The kernel answers at once or never: a lost answer must not hang the thread.
constexpr timeval kReceiveTimeout = {5, 0};

}  // namespace

NetlinkRequest::NetlinkRequest(uint16_t type) {
  nlmsghdr message{};
  message.nlmsg_type = type;
  append(&message, sizeof(message));
}

void NetlinkRequest::append(const void* data, size_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkRequest::attribute(uint16_t type, const void* data, size_t size) {
  const nlattr header = {static_cast<uint16_t>(NLA_HDRLEN + size), type};
  append(&header, sizeof(header));
  append(data, size);
}

size_t NetlinkRequest::open_nested(uint16_t type) {
  const size_t start = bytes_.size();
  const nlattr header = {0, static_cast<uint16_t>(type | NLA_F_NESTED)};
  append(&header, sizeof(header));
  return start;
}

void NetlinkRequest::close_nested(size_t start) {
  reinterpret_cast<nlattr*>(bytes_.data() + start)->nla_len = static_cast<uint16_t>(bytes_.size() - start);
}

const std::vector<uint8_t>& NetlinkRequest::finish(uint16_t flags, uint32_t sequence) {
  auto* message = reinterpret_cast<nlmsghdr*>(bytes_.data());
  message->nlmsg_len = static_cast<uint32_t>(bytes_.size());
  message->nlmsg_flags = flags;
  message->nlmsg_seq = sequence;
  return bytes_;
}

NetlinkAttributes NetlinkAttributes::of(const nlmsghdr& message, size_t header_size) {
  const size_t skipped = NLMSG_SPACE(header_size);
  if (message.nlmsg_len <= skipped) {
    return {};
  }
  return {reinterpret_cast<const uint8_t*>(&message) + skipped, message.nlmsg_len - skipped};
}

const nlattr* NetlinkAttributes::find(uint16_t type) const {
  for (size_t at = 0; at + NLA_HDRLEN <= size_;) {
    const auto* attribute = reinterpret_cast<const nlattr*>(data_ + at);
    if (attribute->nla_len < NLA_HDRLEN || at + attribute->nla_len > size_) {
      return nullptr;
    }
    if ((attribute->nla_type & NLA_TYPE_MASK) == type) {
      return attribute;
    }
    at += NLA_ALIGN(attribute->nla_len);
  }
  return nullptr;
}

NetlinkAttributes NetlinkAttributes::nested(uint16_t type) const {
  const nlattr* found = find(type);
  if (found == nullptr) {
    return {};
  }
  return {reinterpret_cast<const uint8_t*>(found) + NLA_HDRLEN, static_cast<size_t>(found->nla_len - NLA_HDRLEN)};
}

std::string NetlinkAttributes::text(uint16_t type) const {
  const nlattr* found = find(type);
  if (found == nullptr) {
    return {};
  }
  const auto* start = reinterpret_cast<const char*>(found) + NLA_HDRLEN;
  return {start, strnlen(start, found->nla_len - NLA_HDRLEN)};
}

struct NetlinkSocket::Progress {
  NetlinkReply reply;
  bool done = false;
  bool interrupted = false;

  // NLMSG_ERROR (an acknowledgement where it is 0) and NLMSG_DONE both begin with a negative errno.
  void finish(const nlmsghdr& message) {
    const int* code = message_header<int>(message);
    reply.error = code == nullptr ? 0 : -*code;
    done = true;
  }

  void take(const nlmsghdr& message) {
    interrupted = interrupted || (message.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    if (message.nlmsg_type == NLMSG_ERROR || message.nlmsg_type == NLMSG_DONE) {
      finish(message);
    } else if (message.nlmsg_type >= NLMSG_MIN_TYPE) {
      const auto* from = reinterpret_cast<const uint8_t*>(&message);
      reply.bytes.insert(reply.bytes.end(), from, from + message.nlmsg_len);
      reply.bytes.resize(NLMSG_ALIGN(reply.bytes.size()));
    }
  }
};

NetlinkSocket::NetlinkSocket(int protocol) : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)) {
  if (!fd_.open()) {
    throw NativeFailure(errno, "socket(AF_NETLINK)");
  }
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &kReceiveTimeout, sizeof(kReceiveTimeout));
}

void NetlinkSocket::send(const std::vector<uint8_t>& message, const std::string& operation) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const auto* address = reinterpret_cast<const sockaddr*>(&kernel);
  while (sendto(fd_.get(), message.data(), message.size(), 0, address, sizeof(kernel)) < 0) {
    if (errno != EINTR) {
      throw NativeFailure(errno, operation);
    }
  }
}

void NetlinkSocket::receive(Progress& progress, const std::string& operation) {
  alignas(nlmsghdr) uint8_t buffer[kReceiveSize];
  const ssize_t received = recv(fd_.get(), buffer, sizeof(buffer), MSG_TRUNC);
  if (received < 0) {
    if (errno == EINTR) {
      return;
    }
    throw NativeFailure(errno == EAGAIN ? ETIMEDOUT : errno, operation);
  }
  if (static_cast<size_t>(received) > sizeof(buffer)) {
    throw NativeFailure(EMSGSIZE, operation);
  }
  size_t left = static_cast<size_t>(received);
  for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(message, left) && !progress.done;
       message = NLMSG_NEXT(message, left)) {
    if (message->nlmsg_seq == sequence_) {
      progress.take(*message);
    }
  }
}

NetlinkReply NetlinkSocket::exchange(NetlinkRequest& request, uint16_t flags, const std::string& operation,
                                     bool& interrupted) {
  send(request.finish(flags, ++sequence_), operation);
  Progress progress;
  while (!progress.done) {
    receive(progress, operation);
  }
  interrupted = progress.interrupted;
  return std::move(progress.reply);
}

NetlinkReply NetlinkSocket::request(NetlinkRequest& request, const std::string& operation) {
  bool interrupted;
  return exchange(request, NLM_F_REQUEST | NLM_F_ACK, operation, interrupted);
}

NetlinkReply NetlinkSocket::dump(NetlinkRequest& request, const std::string& operation) {
  for (int attempt = 0; attempt < kDumpAttempts; attempt++) {
    bool interrupted;
    NetlinkReply reply = exchange(request, NLM_F_REQUEST | NLM_F_DUMP, operation, interrupted);
    if (reply.error != 0) {
      throw NativeFailure(reply.error, operation);
    }
    if (!interrupted) {
      return reply;
    }
  }
  throw NativeFailure(EBUSY, operation, "the table changed during each of several dumps");
}

}  // namespace serval
