#include "runtime/partitions.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>

#include "runtime/rendezvous.h"

namespace rf {
namespace {

// One run: who is not done yet, and the first error.
class Joint {
 public:
  Joint(size_t parts, Rendezvous* given) : rendezvous_(given ? *given : own_), left_(parts) {}

  // What a part gets besides its feeds.
  RunOptions options(const RunOptions& given, bool calling) {
    return {given.timeout_ms, &cancellation_, calling ? given.interrupted : nullptr, &rendezvous_};
  }
  void fail(std::exception_ptr error) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (error_) return;
      error_ = error;
    }
    rendezvous_.abort(error);
    cancellation_.cancel();
  }
  void done() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--left_ == 0) all_done_.notify_one();  // under the lock: the waiting thread destroys this object
  }
  // Until every part is done; throws the first error.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return left_ == 0; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  Rendezvous own_;
  Rendezvous& rendezvous_;
  Cancellation cancellation_;
  std::mutex mutex_;
  std::condition_variable all_done_;
  size_t left_;
  std::exception_ptr error_;
};

}  // namespace

Partitions::Partitions(const std::vector<std::string>& graph_defs, std::vector<std::vector<int>> fetches,
                       std::shared_ptr<Resources> resources)
    : fetches_(std::move(fetches)) {
  check(!graph_defs.empty() && graph_defs.size() == fetches_.size(), "[partitions] there are ", graph_defs.size(),
        " parts and lists of fetches for ", fetches_.size());
  for (size_t p = 0; p < graph_defs.size(); ++p) {
    parts_.push_back(std::make_unique<Executable>(graph_defs[p].data(), graph_defs[p].size(), resources));
    check(parts_[p]->result_dtypes().size() == fetches_[p].size(), "[partitions] part ", p, " has ",
          parts_[p]->result_dtypes().size(), " fetches: received places for ", fetches_[p].size());
    results_ += fetches_[p].size();
    const std::vector<Argument>& own = parts_[p]->arguments();
    if (arguments_.size() < own.size()) arguments_.resize(own.size());
    for (size_t i = 0; i < own.size(); ++i)
      if (!own[i].name.empty() && arguments_[i].name.empty()) arguments_[i] = own[i];
  }
  std::vector<bool> seen(results_);
  for (const std::vector<int>& list : fetches_)
    for (int f : list) {
      check(f >= 0 && static_cast<size_t>(f) < results_ && !seen[static_cast<size_t>(f)],
            "[partitions] every result comes from one part: index ", f, " of ", results_, " is wrong or comes twice");
      seen[static_cast<size_t>(f)] = true;
    }
}

std::vector<Tensor> Partitions::run(const std::vector<Tensor>& feeds, const RunOptions& options) {
  return run_all(feeds, options, nullptr);
}

std::vector<Tensor> Partitions::run_timed(const std::vector<Tensor>& feeds, std::vector<std::vector<Call>>& calls,
                                          const RunOptions& options) {
  calls.assign(parts_.size(), {});
  return run_all(feeds, options, &calls);
}

std::vector<Tensor> Partitions::run_all(const std::vector<Tensor>& feeds, const RunOptions& options,
                                        std::vector<std::vector<Call>>* calls) {
  std::vector<Tensor> results(results_);
  Joint joint(parts_.size(), options.rendezvous);
  Cancellation::Token token = 0;
  const auto stop = [&joint] {
    joint.fail(std::make_exception_ptr(Error(Code::Cancelled, "[run] the run was cancelled")));
  };
  if (options.cancellation) {
    token = options.cancellation->on_cancel(stop);
    if (token == 0) stop();
  }
  const auto run_part = [&](size_t p) {
    try {
      const RunOptions own = joint.options(options, p == 0);
      std::vector<Tensor> part =
          calls ? parts_[p]->run_timed(feeds, (*calls)[p], own) : parts_[p]->run(feeds, own);
      for (size_t i = 0; i < part.size(); ++i) results[static_cast<size_t>(fetches_[p][i])] = std::move(part[i]);
    } catch (...) {
      joint.fail(std::current_exception());
    }
    joint.done();
  };
  for (size_t p = 1; p < parts_.size(); ++p) crew_.start([&run_part, p] { run_part(p); });
  run_part(0);
  std::exception_ptr error;
  try {
    joint.wait();
  } catch (...) {
    error = std::current_exception();
  }
  if (token != 0) options.cancellation->forget(token);
  if (error) std::rethrow_exception(error);
  return results;
}

}  // namespace rf
