#include "base/timer.h"

#include <thread>

namespace rf {

Timer& Timer::instance() {
  static Timer* const timer = new Timer;  // never destroyed: its thread may outlive statics
  return *timer;
}

Timer::Token Timer::call_after(int64_t ms, std::function<void()> callback) {
  constexpr int64_t kMostMs = int64_t{1} << 40;  // 35 years: a deadline must not overflow
  std::lock_guard<std::mutex> lock(mutex_);
  const Token token(Clock::now() + std::chrono::milliseconds(ms < kMostMs ? ms : kMostMs), next_++);
  callbacks_.emplace(token, std::move(callback));
  if (!started_) {
    started_ = true;
    std::thread([this] { loop(); }).detach();
  }
  if (callbacks_.begin()->first == token) earlier_.notify_one();
  return token;
}

void Timer::drop(const Token& token) {
  std::function<void()> callback;  // destroyed without the lock
  std::lock_guard<std::mutex> lock(mutex_);
  const auto it = callbacks_.find(token);
  if (it == callbacks_.end()) return;
  callback = std::move(it->second);
  callbacks_.erase(it);
}

void Timer::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    if (callbacks_.empty()) {
      earlier_.wait(lock);
      continue;
    }
    const auto first = callbacks_.begin();
    if (Clock::now() < first->first.first) {
      const Clock::time_point deadline = first->first.first;
      earlier_.wait_until(lock, deadline);
      continue;
    }
    std::function<void()> callback = std::move(first->second);
    callbacks_.erase(first);
    lock.unlock();
    callback();
    callback = nullptr;
    lock.lock();
  }
}

}  // namespace rf
