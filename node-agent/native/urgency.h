// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <chrono>

namespace serval {

// This thread goes before all ordinary ones, for a bounded time. Every packet that is replayed wakes whoever waits for
// it, who then took the processor from the replay: on two busy cores 45 packets took 4 to 5 ms, and their last sender
// waited for that. Without the permission it goes on as it is.
class Urgency {
 public:
  Urgency() {
    const sched_param param{.sched_priority = 1};
    urgent_ = sched_getscheduler(0) == SCHED_OTHER && sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) == 0;
  }
  ~Urgency() { end(); }
  Urgency(const Urgency&) = delete;
  Urgency& operator=(const Urgency&) = delete;

  // To be called between pieces of the work.
  void bound() {
    if (std::chrono::steady_clock::now() - began_ > kLongest) {
      end();
    }
  }

 private:
  static constexpr std::chrono::milliseconds kLongest{10};

  void end() {
    if (urgent_) {
      const sched_param param{};
      sched_setscheduler(0, SCHED_OTHER, &param);
      urgent_ = false;
    }
  }

  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  bool urgent_ = false;
};

}  // namespace serval
