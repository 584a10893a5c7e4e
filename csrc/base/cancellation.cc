#include "base/cancellation.h"

#include <utility>

namespace rf {

Cancellation::Token Cancellation::on_cancel(std::function<void()> callback) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (cancelled_) return 0;
  callbacks_.emplace(next_, std::move(callback));
  return next_++;
}

bool Cancellation::forget(Token token) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (callbacks_.erase(token) > 0) return true;
  called_.wait(lock, [this] { return !calling_; });
  return false;
}

void Cancellation::drop(Token token) {
  std::function<void()> callback;  // destroyed without the lock
  std::lock_guard<std::mutex> lock(mutex_);
  const auto it = callbacks_.find(token);
  if (it == callbacks_.end()) return;
  callback = std::move(it->second);
  callbacks_.erase(it);
}

void Cancellation::cancel() {
  std::map<Token, std::function<void()>> callbacks;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (cancelled_) return;
    cancelled_ = calling_ = true;
    callbacks.swap(callbacks_);
  }
  for (const auto& entry : callbacks) entry.second();
  std::lock_guard<std::mutex> lock(mutex_);
  calling_ = false;
  called_.notify_all();
}

void Cancellation::reset() {
  std::lock_guard<std::mutex> lock(mutex_);
  cancelled_ = false;
}

}  // namespace rf
