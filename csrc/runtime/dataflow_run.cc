#include "runtime/dataflow_run.h"

#include <algorithm>
#include <utility>

#include "base/denormals.h"

namespace rf {
namespace {

constexpr auto kAskEvery = std::chrono::milliseconds(100);
constexpr uint32_t kLookEvery = 256;  // nodes, at the clock
constexpr size_t kMostNamed = 5;      // nodes, in an error

std::string names_of(const std::vector<const Node*>& nodes) {
  std::string s;
  for (const Node* node : nodes) s += (s.empty() ? "'" : ", '") + node->name + "' (" + node->op + ")";
  return s;
}

}  // namespace

// A call of a kernel that may wait. It lives until both the kernel and its `done` have returned, whichever is first.
class DataflowRun::AsyncCall {
 public:
  AsyncCall(DataflowRun& run, const Ready& ready) : ready(ready), context(run.context(ready)), run_(run) {}

  // Whether `done` was called before the kernel returned: then the call is over.
  bool start() {
    try {
      ready.node->async(context, [this](std::exception_ptr thrown) { done(std::move(thrown)); });
    } catch (...) {
      done(std::current_exception());
    }
    return over_.exchange(true, std::memory_order_acq_rel);
  }

  const Ready ready;
  Context context;
  std::exception_ptr thrown;
  int64_t start_ns = 0;

 private:
  void done(std::exception_ptr error) {
    thrown = std::move(error);
    if (over_.exchange(true, std::memory_order_acq_rel)) run_.come_back(this);
  }

  DataflowRun& run_;
  std::atomic<bool> over_{false};  // one of the two has returned
};

DataflowRun::DataflowRun(const FlowPlan& plan, Resources& resources, InterOpPool* pool, KernelCosts* costs)
    : plan_(plan), resources_(resources), pool_(pool), costs_(costs), frames_(plan),
      gates_(static_cast<size_t>(plan.gates), 1) {}

std::vector<Tensor> DataflowRun::execute(const std::vector<Tensor>& feeds, const RunOptions& options,
                                         std::vector<Call>* calls) {
  FlushDenormals flush;
  feeds_ = &feeds;
  options_ = options;
  state_.rendezvous = options.rendezvous;
  calls_ = calls;
  limited_ = options.timeout_ms > 0 || options.interrupted;
  results_.assign(plan_.signature.result_dtypes.size(), Tensor());
  if (limited_ || calls_) start_ = asked_ = Clock::now();
  Cancellation::Token token = 0;
  if (options.cancellation) {
    const auto stop = [this] {
      Lock lock(mutex_);
      abort(Error(Code::Cancelled, "[run] the run was cancelled"));
      changed_.notify_all();
    };
    token = options.cancellation->on_cancel(stop);
    if (token == 0) stop();
  }
  {
    Lock lock(mutex_);
    frames_.start(caller_.found);
    work(caller_, lock);
  }
  if (token != 0) options.cancellation->forget(token);
  if (calls_) {
    for (Call& call : caller_.calls) calls_->push_back(std::move(call));
    caller_.calls.clear();
    std::stable_sort(calls_->begin(), calls_->end(),
                     [](const Call& a, const Call& b) { return a.start_ns < b.start_ns; });
  }
  if (state_.resources.used()) state_.resources.reset("");
  return take_results();
}

std::vector<Tensor> DataflowRun::take_results() {
  if (error_) throw *error_;
  if (!frames_.complete()) {
    const auto left = frames_.unfinished(kMostNamed);
    throw Error(Code::Internal,
                text("[run] nothing is ready, but nodes wait for inputs that will not come: ", names_of(left),
                     ". Fix: look for a loop or a Merge that is wired wrongly"),
                left.empty() ? "" : left[0]->name);
  }
  for (const FlowNode& node : plan_.frames[0].nodes) {
    if (node.role != Role::Result || results_[static_cast<size_t>(node.ordinal)].initialized()) continue;
    throw Error(Code::InvalidArgument,
                text("[run] Retval[", node.ordinal, "] does not have value: '", node.node->inputs[0],
                     "' lies on a branch that was not taken. Fix: fetch what a Merge makes of the branches"),
                node.node->name);
  }
  return std::move(results_);
}

// ---- the queue

// The calling thread, until nothing is ready, nothing waits and nobody helps; a helper, until there is nothing to take.
void DataflowRun::work(Worker& worker, Lock& lock) {
  const bool calling = worker.number == 0;
  while (true) {
    if (!come_back_.empty()) {
      AsyncCall* const call = come_back_.back();
      come_back_.pop_back();
      take_back(worker, call, lock);
    }
    share_out(worker);
    if (error_) {
      worker.queue.clear();
      shared_.clear();
    }
    if (calling && error_ && !cancelled_) {
      cancelled_ = true;
      lock.unlock();
      state_.cancellation.cancel();
      lock.lock();
      continue;
    }
    ++worker.steps;
    if (calling && limited_ && worker.steps % kLookEvery == 0) check_limits(lock);
    if (worker.queue.empty() && !shared_.empty()) {
      worker.queue.push(shared_.front());
      shared_.pop_front();
    }
    if (!worker.queue.empty()) {
      step(worker, worker.queue.pop(), lock);
    } else if (worker.dropped.any()) {  // what waits may wait for this
      lock.unlock();
      worker.dropped.clear();
      lock.lock();
    } else if (!come_back_.empty()) {
      continue;
    } else if (!calling || (waiting_.empty() && !others_work())) {
      return;
    } else {
      wait(lock);
    }
  }
}

// ---- threads that help

bool DataflowRun::others_work() {
  if (helping_ == 0 && asked_for_ > 0) asked_for_ -= pool_->withdraw(*this);
  return helping_ + asked_for_ > 0;
}

// Queues what the last node made ready: one costly node for this thread, more of them for others.
void DataflowRun::share_out(Worker& worker) {
  for (const Ready& ready : worker.found) {
    if (!costs_ || worker.queue.empty() || ready.dead || ready.node->role != Role::Kernel ||
        !costs_->costly(*ready.node)) {
      worker.queue.push(ready);
      continue;
    }
    shared_.push_back(ready);
    changed_.notify_one();
    if (asked_for_ + helping_ < pool_->helpers()) {
      ++asked_for_;
      pool_->ask(*this);
    }
  }
  worker.found.clear();
}

void DataflowRun::help(int thread) {
  Worker worker;
  worker.number = thread;
  Lock lock(mutex_);
  --asked_for_;
  ++helping_;
  work(worker, lock);
  for (Call& call : worker.calls) calls_->push_back(std::move(call));
  --helping_;
  changed_.notify_all();  // under the lock: the run ends after the last helper
}

// ---- nodes

void DataflowRun::step(Worker& worker, const Ready& ready, Lock& lock) {
  if (ready.node->role == Role::Async && !ready.dead && gates_open(*ready.node)) return start_call(worker, ready, lock);
  lock.unlock();
  if (__builtin_expect(worker.dropped.any(), 0)) worker.dropped.clear();
  int chosen = -1;
  try {
    if (!ready.dead || ready.node->transfer) {
      const bool timed = calls_ || (costs_ && ready.node->role == Role::Kernel &&
                                    (worker.steps % 16 == 0 || costs_->costly(*ready.node)));
      const int64_t start = timed ? now_ns() : 0;
      chosen = run_node(worker, ready);
      if (timed && costs_) costs_->add(*ready.node, now_ns() - start);
      if (calls_) record(worker, ready, start);
    }
    release(ready);
  } catch (...) {
    const Error error = error_of(std::current_exception(), *ready.node->node);
    lock.lock();
    return abort(error);
  }
  lock.lock();
  finish(worker, ready, chosen);
}

void DataflowRun::finish(Worker& worker, const Ready& ready, int chosen) {
  try {
    frames_.finish(ready, chosen, worker.passing, worker.found, worker.dropped);
  } catch (...) {
    abort(error_of(std::current_exception(), *ready.node->node));
  }
}

void DataflowRun::start_call(Worker& worker, const Ready& ready, Lock& lock) {
  auto* const call = new AsyncCall(*this, ready);
  waiting_.push_back(call);
  lock.unlock();
  if (calls_) call->start_ns = now_ns();
  const bool over = call->start();
  lock.lock();
  if (over) take_back(worker, call, lock);
}

void DataflowRun::come_back(AsyncCall* call) {
  Lock lock(mutex_);
  come_back_.push_back(call);
  changed_.notify_all();  // under the lock: the run ends after the last call
}

void DataflowRun::take_back(Worker& worker, AsyncCall* call, Lock& lock) {
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), call));
  const std::unique_ptr<AsyncCall> owner(call);
  Ready ready = call->ready;
  ready.dead = call->context.dead();
  lock.unlock();
  if (!call->thrown) {
    if (calls_) record(worker, ready, call->start_ns);
    release(ready);
  }
  lock.lock();
  if (call->thrown)
    abort(error_of(call->thrown, *ready.node->node));
  else
    finish(worker, ready, -1);
}

// ---- what ends a run early

void DataflowRun::abort(const Error& error) {
  if (!error_) error_.emplace(error);
}

void DataflowRun::wait(Lock& lock) {
  if (!limited_) return changed_.wait(lock);
  auto until = Clock::time_point::max();
  if (options_.interrupted) until = asked_ + kAskEvery;
  if (options_.timeout_ms > 0 && !error_)
    until = std::min(until, start_ + std::chrono::milliseconds(options_.timeout_ms));
  if (until == Clock::time_point::max()) return changed_.wait(lock);
  changed_.wait_until(lock, until);
  check_limits(lock);
}

void DataflowRun::check_limits(Lock& lock) {
  const auto now = Clock::now();
  if (options_.timeout_ms > 0 && now - start_ >= std::chrono::milliseconds(options_.timeout_ms)) abort(late());
  if (!options_.interrupted || now - asked_ < kAskEvery) return;
  asked_ = now;
  lock.unlock();
  const bool stop = options_.interrupted();
  lock.lock();
  if (stop) abort(Error(Code::Cancelled, "[run] the run was interrupted"));
}

Error DataflowRun::late() const {
  std::vector<const Node*> blocked;
  for (const AsyncCall* call : waiting_)
    if (blocked.size() < kMostNamed) blocked.push_back(call->ready.node->node);
  return Error(Code::DeadlineExceeded,
               text("[run] the run has not ended within ", options_.timeout_ms, " ms: ",
                    blocked.empty() ? "nodes are still running" : "these wait: " + names_of(blocked),
                    ". Fix: find out why they wait (queues fill once rf.train.start_queue_runners is called), or a longer "
                    "timeout_in_ms"),
               blocked.empty() ? "" : blocked[0]->name);
}

void DataflowRun::record(Worker& worker, const Ready& ready, int64_t start_ns) {
  const FlowNode& node = *ready.node;
  Call call{node.node, start_ns, now_ns(), worker.number, {}};
  if (node.role == Role::Kernel || node.role == Role::Async)
    call.outputs = outputs_of(ready.iteration->slots.get() + node.first_output, node.num_outputs);
  worker.calls.push_back(std::move(call));
}

}  // namespace rf
