// SPDX-License-Identifier: Apache-2.0
#include "sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "descriptor.h"
#include "error.h"

namespace serval {

namespace {

Descriptor open_file(const std::string& path, int flags) {
  Descriptor fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd.open()) {
    throw NativeFailure(errno, "open(" + path + ")");
  }
  return fd;
}

void write_piece(const Descriptor& fd, const std::string& path, const std::string& piece) {
  for (size_t at = 0; at < piece.size();) {
    const ssize_t taken = write(fd.get(), piece.data() + at, piece.size() - at);
    if (taken <= 0) {
      throw NativeFailure(taken == 0 ? EIO : errno, "write(" + path + ")");
    }
    at += static_cast<size_t>(taken);
  }
}

}  // namespace

std::string sysctl(const std::string& name, const std::vector<std::string>& pieces) {
  const std::string path = "/proc/sys/" + name;
  if (!pieces.empty()) {
    const Descriptor fd = open_file(path, O_WRONLY);
    for (const std::string& piece : pieces) {
      write_piece(fd, path, piece);
    }
  }
  const Descriptor fd = open_file(path, O_RDONLY);
  // In one read: of a list of ports a second one says nothing. All of them, each for itself, take 393 KB.
  std::string text(size_t{512} << 10, '\0');
  const ssize_t got = read(fd.get(), text.data(), text.size());
  if (got < 0) {
    throw NativeFailure(errno, "read(" + path + ")");
  }
  text.resize(static_cast<size_t>(got));
  return text;
}

}  // namespace serval
