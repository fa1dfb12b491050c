// SPDX-License-Identifier: Apache-2.0
#include "ring_memory.h"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "error.h"

namespace serval {

namespace {

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

RingMemory::~RingMemory() {
  if (consumer_ != nullptr) {
    munmap(consumer_, page_size());
  }
  if (producer_ != nullptr) {
    munmap(const_cast<uint64_t*>(producer_), page_size() + size_);
  }
}

void RingMemory::map(int fd, size_t size) {
  const size_t page = page_size();
  void* consumer = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (consumer == MAP_FAILED) {
    throw NativeFailure(errno, "mmap(ring_buffer)");
  }
  consumer_ = static_cast<uint64_t*>(consumer);
  void* producer = mmap(nullptr, page + size, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(page));
  if (producer == MAP_FAILED) {
    throw NativeFailure(errno, "mmap(ring_buffer)");
  }
  size_ = size;
  producer_ = static_cast<const uint64_t*>(producer);
  data_ = static_cast<const uint8_t*>(producer) + page;
}

bool RingMemory::take(std::vector<uint8_t>& bytes) {
  uint64_t at = __atomic_load_n(consumer_, __ATOMIC_ACQUIRE);
  while (at < __atomic_load_n(producer_, __ATOMIC_ACQUIRE)) {
    // Records begin at multiples of 8 bytes, so their heads are in one part.
    const size_t offset = at & (size_ - 1);
    const uint32_t head = __atomic_load_n(reinterpret_cast<const uint32_t*>(data_ + offset), __ATOMIC_ACQUIRE);
    if ((head & BPF_RINGBUF_BUSY_BIT) != 0) {
      return false;
    }
    const size_t length = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    const bool taken_back = (head & BPF_RINGBUF_DISCARD_BIT) != 0;
    if (!taken_back) {
      append(bytes, offset + BPF_RINGBUF_HDR_SZ, length);
    }
    at += (length + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
    // The kernel may overwrite it from here on.
    __atomic_store_n(consumer_, at, __ATOMIC_RELEASE);
    if (!taken_back) {
      return true;
    }
  }
  return false;
}

void RingMemory::append(std::vector<uint8_t>& bytes, size_t at, size_t length) const {
  const size_t from = at & (size_ - 1);
  const size_t first = std::min(length, size_ - from);
  bytes.insert(bytes.end(), data_ + from, data_ + from + first);
  bytes.insert(bytes.end(), data_, data_ + (length - first));
}

}  // namespace serval
