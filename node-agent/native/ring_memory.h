// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace serval {

// The memory of a ring buffer that this process reads, mapped once. (libbpf maps it twice in a row, so that no record is in
// two parts: of 16 MiB that is 16 MiB more of resident memory, in every agent.)
class RingMemory {
 public:
  RingMemory() = default;
  RingMemory(const RingMemory&) = delete;
  RingMemory& operator=(const RingMemory&) = delete;
  ~RingMemory();

  // `size` is the map's max_entries.
  void map(int fd, size_t size);

  // Appends the oldest record to `bytes` and takes it out; false where there is none, or its writer is not done yet.
  // Those that their writer has taken back are passed over.
  bool take(std::vector<uint8_t>& bytes);

 private:
  void append(std::vector<uint8_t>& bytes, size_t at, size_t length) const;

  size_t size_ = 0;
  // The reader's position, alone on its page.
  uint64_t* consumer_ = nullptr;
  // The writers' position, alone on its page; behind it the records.
  const uint64_t* producer_ = nullptr;
  const uint8_t* data_ = nullptr;
};

}  // namespace serval
