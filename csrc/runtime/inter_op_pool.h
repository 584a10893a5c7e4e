// Threads that help runs whose graphs have more than one costly node ready at once. A session has one pool for all.
//
// Thread-safe. A pool outlives the runs that ask it.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace rf {

class InterOpPool {
 public:
  class Job {
   public:
    virtual ~Job() = default;
    // Does some of the job's work, on thread `thread` >= 1 of the pool, and returns when there is no more to take.
    virtual void help(int thread) = 0;
  };

  // `threads` in all, the calling one included: 1 makes a pool without threads.
  explicit InterOpPool(int threads);
  ~InterOpPool();
  InterOpPool(const InterOpPool&) = delete;
  InterOpPool& operator=(const InterOpPool&) = delete;

  int helpers() const { return static_cast<int>(threads_.size()); }
  // One thread will call job.help(), as soon as one is free.
  void ask(Job& job);
  // Takes back what was asked for and has not begun: how many times.
  int withdraw(Job& job);

 private:
  void serve(int thread);

  std::mutex mutex_;
  std::condition_variable asked_;
  std::deque<Job*> jobs_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rf
