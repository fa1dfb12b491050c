// SPDX-License-Identifier: Apache-2.0
#include "descriptor.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>

#include "error.h"

namespace serval {

namespace {

// The kernel names its anonymous inodes so; a descriptor's information can't be asked for before its kind is known.
// Links are spelled in two ways, depending on the call that gave the descriptor.
std::string_view inode_name(PinnedKind kind) {
  switch (kind) {
    case PinnedKind::kMap:
      return "anon_inode:bpf-map";
    case PinnedKind::kProgram:
      return "anon_inode:bpf-prog";
    case PinnedKind::kLink:
      return "anon_inode:bpf-link";
  }
  return "";
}

bool is_of_kind(int fd, PinnedKind kind) {
  char target[64];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), target, sizeof(target));
  std::string found(target, length > 0 ? static_cast<size_t>(length) : 0);
  std::replace(found.begin(), found.end(), '_', '-');
  std::string expected(inode_name(kind));
  std::replace(expected.begin(), expected.end(), '_', '-');
  return found == expected;
}

}  // namespace

void Descriptor::reset(int fd) {
  if (fd_ >= 0) {
    ::close(fd_);
  }
  fd_ = fd;
}

int Descriptor::use(const std::string& operation) const {
  if (fd_ < 0) {
    throw NativeFailure(EBADF, operation, "the handle is closed");
  }
  return fd_;
}

Descriptor duplicate(int fd, const std::string& operation) {
  Descriptor copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy.open()) {
    throw NativeFailure(errno, operation);
  }
  return copy;
}

Descriptor open_pinned(const std::string& path, PinnedKind kind) {
  const std::string operation = "bpf_obj_get(" + path + ")";
  const int fd = bpf_obj_get(path.c_str());
  if (fd < 0) {
    throw NativeFailure(-fd, operation);
  }
  Descriptor descriptor(fd);
  if (!is_of_kind(fd, kind)) {
    throw NativeFailure(EINVAL, operation, "something else than expected is pinned there");
  }
  return descriptor;
}

void pin(int fd, const std::string& path) {
  if (const int err = bpf_obj_pin(fd, path.c_str()); err != 0) {
    throw NativeFailure(-err, "bpf_obj_pin(" + path + ")");
  }
}

}  // namespace serval
