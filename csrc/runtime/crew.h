// Threads that wait for work and are used again: for tasks that may block, so that each has a thread at once.
//
// Thread-safe. A task starts at once, on an idle thread or a new one; there are as many threads as tasks ever ran at the
// same time. Tasks do not throw. The destructor waits for all of them.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace rf {

class Crew {
 public:
  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void start(std::function<void()> task) {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    if (idle_ < tasks_.size())
      threads_.emplace_back([this] { work(); });
    else
      changed_.notify_one();
  }

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      if (!tasks_.empty()) {
        std::function<void()> task = std::move(tasks_.back());
        tasks_.pop_back();
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
        continue;
      }
      if (closed_) return;
      ++idle_;
      changed_.wait(lock);
      --idle_;
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool closed_ = false;
};

}  // namespace rf
