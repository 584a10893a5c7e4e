#include "collectives/progress.h"

#include <chrono>
#include <utility>

#include "base/error.h"

namespace rf {

Progress::Ticket Progress::enqueue(Job job, Lock&) {
  if (stopping_)
    fail(Code::FailedPrecondition, "[communicator] it was closed. Fix: make no collective call afterwards.");
  queue_.push_back({++last_, std::move(job)});
  return last_;
}

Progress::Ticket Progress::start(Job job, bool overlap) {
  Lock lock(mutex_);
  const Ticket ticket = enqueue(std::move(job), lock);
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
  finish(ticket, lock);
}

void Progress::run(Job job) {
  Lock lock(mutex_);
  const Ticket ticket = enqueue(std::move(job), lock);
  finish(ticket, lock);
}

void Progress::finish(Ticket ticket, Lock& lock) {
  ++waiting_;
  while (finished_.load(std::memory_order_relaxed) < ticket) {
    if (!running_ && !queue_.empty())
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

bool Progress::run_soon(const Job& job, double timeout_s) {
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
  if (!queue_.empty()) work_.notify_one();
  return true;
}

void Progress::run_next(Lock& lock) {
  Entry entry = std::move(queue_.front());
  queue_.pop_front();
  running_ = true;
  lock.unlock();
  std::exception_ptr thrown;
  try {
    entry.job();
  } catch (...) {
    thrown = std::current_exception();
  }
  entry.job = nullptr;
  lock.lock();
  running_ = false;
  if (thrown) errors_[entry.ticket] = thrown;
  finished_.store(entry.ticket, std::memory_order_relaxed);
  done_.notify_all();
  if (!queue_.empty()) work_.notify_one();  // the thread may have looked while this one was running
}

void Progress::thread_main() {
  Lock lock(mutex_);
  while (!stopping_) {
    if (!running_ && !queue_.empty())
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
    work_.notify_all();
    done_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace rf
