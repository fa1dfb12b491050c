// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

namespace serval {

// An owned file descriptor. Closed with the object that holds it: on close(), by the garbage collector, or at the
// environment's exit, whichever comes first.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void reset(int fd = -1);

  // The descriptor, or NativeFailure EBADF once it was given up.
  int use(const std::string& operation) const;

 private:
  int fd_ = -1;
};

// A second descriptor of the same kernel object, above the standard three and closed on exec.
Descriptor duplicate(int fd, const std::string& operation);

enum class PinnedKind { kMap, kProgram, kLink };

// What is pinned under the path may be of another kind: EINVAL.
Descriptor open_pinned(const std::string& path, PinnedKind kind);

void pin(int fd, const std::string& path);

}  // namespace serval
