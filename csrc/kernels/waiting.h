// Operations that wait for a resource (queues, barriers, mutexes, accumulators): lines of attempts, served in the order in
// which they came.
//
// An attempt holds no thread. It is made at once where it can be; else it stays in its line, and whoever changes the
// resource (another attempt, a cancellation, a timeout) serves the lines again and completes what has become possible.
//
// Threading: attempts step and are abandoned under the lock of their resource, and complete without any lock, on the
// thread that made the last step. An attempt that is cancelled or late leaves no trace in the resource.
// Source: the attempts of TensorFlow's QueueBase.
#pragma once

#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/cancellation.h"
#include "base/timer.h"
#include "kernels/kernel.h"

namespace rf {

class Attempt {
 public:
  enum class Step { Waits, Progressed, Done };

  virtual ~Attempt() = default;
  // Takes or gives what it can now. What it throws becomes the attempt's error, after `abandon`. Under the lock.
  virtual Step step() = 0;
  // Puts back what it has taken. Under the lock.
  virtual void abandon() {}
  // Writes the outputs once it is done; may throw. Without the lock.
  virtual void finish() {}

 private:
  friend class Waiting;
  Done done_;
  std::exception_ptr error_;
  bool in_line_ = true;
  Cancellation* cancellation_ = nullptr;  // set while it waits
  Cancellation::Token cancel_token_ = 0;
  Timer::Token deadline_;
  bool has_deadline_ = false;
};

// A resource with lines of attempts. Must be owned by a shared_ptr.
class Waiting : public Resource, public std::enable_shared_from_this<Waiting> {
 public:
  struct Patience {
    Cancellation& cancellation;
    int64_t timeout_ms = -1;  // negative: for ever
    const char* what = "";    // of the errors: "Dequeue operation"
  };

  // Puts the attempt at the end of its line and serves the lines. `done` is called once, perhaps before this returns.
  void start(size_t line, std::shared_ptr<Attempt> attempt, Patience patience, Done done);

 protected:
  explicit Waiting(size_t lines) : lines_(lines) {}

  // Changes the resource under its lock, serves the lines, and completes what is done. `change` may throw.
  template <class F>
  void change(F change) {
    std::vector<std::shared_ptr<Attempt>> finished;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      change(finished);
      serve(finished);
    }
    complete(finished);
  }
  // Ends every attempt of a line with `error`. Under the lock.
  void end_line(size_t line, const Error& error, std::vector<std::shared_ptr<Attempt>>& finished);

  mutable std::mutex mutex_;

 private:
  void serve(std::vector<std::shared_ptr<Attempt>>& finished);
  void give_up(size_t line, Attempt& attempt, const Error& error);
  static void complete(const std::vector<std::shared_ptr<Attempt>>& finished);

  std::vector<std::deque<std::shared_ptr<Attempt>>> lines_;
};

}  // namespace rf
