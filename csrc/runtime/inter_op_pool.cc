#include "runtime/inter_op_pool.h"

#include <algorithm>

#include "base/error.h"
#include "base/denormals.h"

namespace rf {

InterOpPool::InterOpPool(int threads) {
  check(threads >= 1 && threads <= 1024, "[InterOpPool] threads must lie in [1, 1024]: received ", threads);
  for (int t = 1; t < threads; ++t) threads_.emplace_back([this, t] { serve(t); });
}

InterOpPool::~InterOpPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  asked_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void InterOpPool::ask(Job& job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(&job);
  }
  asked_.notify_one();
}

int InterOpPool::withdraw(Job& job) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto kept = std::remove(jobs_.begin(), jobs_.end(), &job);
  const int removed = static_cast<int>(jobs_.end() - kept);
  jobs_.erase(kept, jobs_.end());
  return removed;
}

void InterOpPool::serve(int thread) {
  const FlushDenormals flush;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    asked_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    Job& job = *jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    job.help(thread);
    lock.lock();
  }
}

}  // namespace rf
