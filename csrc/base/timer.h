// Calls back at a deadline: the timeouts of operations that wait without holding a thread.
//
// Thread-safe. Callbacks run one after another on one thread of the process, started by the first use and never ended, so
// they must be short; without any lock of this class held.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

namespace rf {

class Timer {
 public:
  using Clock = std::chrono::steady_clock;
  using Token = std::pair<Clock::time_point, uint64_t>;

  static Timer& instance();

  Token call_after(int64_t ms, std::function<void()> callback);
  // The callback will not begin any more. It may be running, and so must own all that it touches.
  void drop(const Token& token);

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable earlier_;  // the first deadline has changed
  bool started_ = false;
  uint64_t next_ = 1;
  std::map<Token, std::function<void()>> callbacks_;
};

}  // namespace rf
