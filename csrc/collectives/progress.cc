#include "collectives/progress.h"

#include <chrono>

#include "base/error.h"

namespace rf {

void Progress::check_open() const {
  if (stopping_)
    fail(Code::FailedPrecondition, "[communicator] it was closed. Fix: make no collective call afterwards.");
}

Progress::Ticket Progress::start(Job job, bool overlap) {
  Lock lock(mutex_);
  check_open();
  queue_.push_back({++last_, std::move(job)});
  const Ticket ticket = last_;
  if (!background_) {
    ++waiting_;
    while (finished_ < ticket && !running_) run_next(lock);
    --waiting_;
  } else if (overlap) {
    if (!thread_.joinable()) thread_ = std::thread(&Progress::thread_main, this);
    work_.notify_one();
  }
  return ticket;
}

void Progress::wait(Ticket ticket) {
  Lock lock(mutex_);
  ++waiting_;
  while (finished_.load(std::memory_order_relaxed) < ticket) {
    if (!running_ && !idle())
      run_next(lock);
    else if (stopping_ && !running_)
      break;
    else
      done_.wait(lock);
  }
  --waiting_;
  if (finished_.load(std::memory_order_relaxed) < ticket)
    fail(Code::Cancelled, "[communicator] it was closed before the job began");
  if (errors_.empty()) return;
  const auto error = errors_.find(ticket);
  if (error == errors_.end()) return;
  const std::exception_ptr thrown = error->second;
  errors_.erase(error);
  lock.unlock();
  std::rethrow_exception(thrown);
}

bool Progress::enter() {
  Lock lock(mutex_);
  check_open();
  if (running_ || !idle()) return false;
  running_ = true;
  ++waiting_;
  return true;
}

void Progress::leave() {
  Lock lock(mutex_);
  --waiting_;
  running_ = false;
  done_.notify_all();
  if (!idle()) work_.notify_one();
}

bool Progress::run_soon(const std::function<void()>& job, double timeout_s) {
  Lock lock(mutex_);
  if (!done_.wait_for(lock, std::chrono::duration<double>(timeout_s), [&] { return !running_; })) return false;
  running_ = true;
  lock.unlock();
  try {
    job();
  } catch (const std::exception&) {  // best effort: the communicator is failing anyway
  }
  lock.lock();
  running_ = false;
  done_.notify_all();
  if (!idle()) work_.notify_one();
  return true;
}

void Progress::run_next(Lock& lock) {
  Entry entry = std::move(queue_[first_]);
  if (++first_ == queue_.size()) {
    queue_.clear();
    first_ = 0;
  }
  running_ = true;
  lock.unlock();
  std::exception_ptr thrown;
  try {
    entry.job();
  } catch (...) {
    thrown = std::current_exception();
  }
  entry.job.clear();
  lock.lock();
  running_ = false;
  if (thrown) errors_[entry.ticket] = thrown;
  finished_.store(entry.ticket, std::memory_order_relaxed);
  done_.notify_all();
  if (!idle()) work_.notify_one();  // the thread may have looked while this one was running
}

void Progress::thread_main() {
  Lock lock(mutex_);
  while (!stopping_) {
    if (!running_ && !idle())
      run_next(lock);
    else
      work_.wait(lock);
  }
}

void Progress::stop() {
  {
    Lock lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    queue_.clear();
    first_ = 0;
    work_.notify_all();
    done_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace rf
