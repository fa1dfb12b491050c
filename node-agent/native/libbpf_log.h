// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace serval {

// What libbpf says on this thread while this object lives. Without one its words are dropped: it never prints.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;

  // Once, before the first call into libbpf.
  static void silence();

  // The last lines of the verifier's log; empty where no program was refused.
  std::string verifier_log() const;
  // The program that the kernel refused; empty where there was none.
  std::string refused_program() const;
  // libbpf's own lines, without the verifier's log, in one.
  std::string messages() const;

  std::string text;

 private:
  LibbpfLog* outer_;
};

}  // namespace serval
