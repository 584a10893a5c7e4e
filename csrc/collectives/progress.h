// The jobs of one communicator, one at a time, in the order in which they were started.
//
// Threads: `start`, `run` and `wait` from any thread. A job runs on the communication thread, or on a thread that waits
// for it and finds it not yet begun: nobody pays for a thread switch that gains nothing. Either way only one thread
// at a time is inside a job, so inside MPI: level SERIALIZED suffices. Below that level (`background` false) jobs
// run on the thread that starts them.
// A job started with `overlap` false begins when somebody waits for it or starts another: two thread switches (tens of
// microseconds) less where the wait follows at once.
// The communication thread is born at the first overlapping `start` and sleeps on a condition variable when idle. No
// job takes the GIL. A job that its own thread runs at once costs two uncontended locks and no allocation.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/task.h"

namespace rf {

class Progress {
 public:
  using Job = Task;
  using Ticket = uint64_t;

  explicit Progress(bool background) : background_(background) {}
  ~Progress() { stop(); }

  Ticket start(Job job, bool overlap = true);
  // Returns when the job has ended; rethrows what it threw. A ticket is waited for once.
  void wait(Ticket ticket);
  // start + wait, on this thread where it can.
  template <class F>
  void run(F&& job) {
    if (!enter()) return wait(start(Job([&job] { job(); }), false));
    struct Leave {
      Progress* progress;
      ~Leave() { progress->leave(); }
    } leave{this};
    job();
  }
  // Runs `job` between two others if that is possible within `timeout_s`; false otherwise.
  bool run_soon(const std::function<void()>& job, double timeout_s);
  // Ends the thread after the job in hand; jobs not yet begun are dropped.
  void stop();

  // How many threads are blocked in `wait`.
  const std::atomic<int>& waiting() const { return waiting_; }

 private:
  struct Entry {
    Ticket ticket;
    Job job;
  };
  using Lock = std::unique_lock<std::mutex>;

  // Where nothing is queued or running this thread may run a job of its own, until `leave`; false otherwise.
  bool enter();
  void leave();
  void check_open() const;
  bool idle() const { return first_ == queue_.size(); }
  void run_next(Lock& lock);
  void thread_main();

  const bool background_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::vector<Entry> queue_;  // the entries from first_ on; emptied, and its memory used again, when all have begun
  size_t first_ = 0;
  std::map<Ticket, std::exception_ptr> errors_;
  Ticket last_ = 0;
  std::atomic<Ticket> finished_{0};
  std::atomic<int> waiting_{0};
  bool running_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace rf
