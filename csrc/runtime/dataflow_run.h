// One run of a data-flow plan: the ready queue, the kernels, the calls that wait, and what ends a run early.
//
// Nodes run on the thread that called execute, and on helpers of the pool: a thread runs what its own nodes make ready,
// but for costly nodes beyond the first, which go to a queue of the run. A kernel that waits holds no thread: its `done`
// may come from anywhere and only leaves a note, which one of the threads takes up. The first error wins: nothing new
// is started, what waits is cancelled, and execute returns when all of it has come back.
// Source: "Implementation of Control Flow in TensorFlow" (2017), and the asynchronous kernels of its executor.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "runtime/frames.h"
#include "runtime/inter_op_pool.h"
#include "runtime/kernel_costs.h"
#include "runtime/ready_queue.h"
#include "runtime/schedule.h"

namespace rf {

class DataflowRun : private InterOpPool::Job {
 public:
  // `pool` and `costs` may both be null: then the calling thread does everything.
  DataflowRun(const FlowPlan& plan, Resources& resources, InterOpPool* pool, KernelCosts* costs);

  // As Schedule::run; records the calls of kernels where `calls` is given. After an error the object is good for
  // nothing but its destruction.
  std::vector<Tensor> execute(const std::vector<Tensor>& feeds, const RunOptions& options, std::vector<Call>* calls);

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;
  class AsyncCall;

  // What one thread works with.
  struct Worker {
    ReadyQueue queue;
    std::vector<Ready> found;  // made ready by the last node
    Dropped dropped;
    Slot passing;
    int number = 0;  // 0: the calling thread
    uint32_t steps = 0;
    std::vector<Call> calls;
  };

  // ---- the queue (dataflow_run.cc); the lock is held between calls
  void work(Worker& worker, Lock& lock);
  bool others_work();
  void share_out(Worker& worker);
  void help(int thread) override;
  void step(Worker& worker, const Ready& ready, Lock& lock);
  void start_call(Worker& worker, const Ready& ready, Lock& lock);
  void take_back(Worker& worker, AsyncCall* call, Lock& lock);
  void come_back(AsyncCall* call);  // from any thread, without the lock
  void finish(Worker& worker, const Ready& ready, int chosen);
  void wait(Lock& lock);
  void check_limits(Lock& lock);
  void abort(const Error& error);
  Error late() const;
  std::vector<Tensor> take_results();

  // ---- one node (dataflow_node.cc); without the lock
  int run_node(Worker& worker, const Ready& ready);
  void run_kernel(const Ready& ready);
  int run_switch(const Ready& ready);
  void run_merge(const Ready& ready);
  void fetch(const Ready& ready);
  void set_gate(const Ready& ready);
  bool gates_open(const FlowNode& node) const;
  void forward(const Ready& ready, int input, Slot& to);
  void release(const Ready& ready);
  Context context(const Ready& ready);
  int64_t now_ns() const;
  void record(Worker& worker, const Ready& ready, int64_t start_ns);

  const FlowPlan& plan_;
  Resources& resources_;
  InterOpPool* const pool_;
  KernelCosts* const costs_;
  RunState state_;
  FrameStates frames_;  // guarded by mutex_
  Worker caller_;
  std::vector<char> gates_;
  std::vector<Tensor> results_;

  const std::vector<Tensor>* feeds_ = nullptr;
  RunOptions options_;
  std::vector<Call>* calls_ = nullptr;
  bool limited_ = false;  // options_ may end the run
  Clock::time_point start_, asked_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Ready> shared_;           // costly nodes for whoever is free
  int asked_for_ = 0;                  // helpers that have not begun
  int helping_ = 0;                    // and those that have
  std::vector<AsyncCall*> waiting_;    // calls that have not come back
  std::vector<AsyncCall*> come_back_;  // and those that have
  std::optional<Error> error_;         // the first
  bool cancelled_ = false;
};

}  // namespace rf
