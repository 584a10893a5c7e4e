#include "runtime/dataflow.h"

#include <utility>

namespace rf {
namespace {

constexpr size_t kMostIdle = 16;

}  // namespace

Dataflow::Dataflow(GraphDef graph, std::shared_ptr<Resources> resources, std::shared_ptr<InterOpPool> pool)
    : resources_(std::move(resources)), pool_(std::move(pool)), plan_(make_flow_plan(std::move(graph))),
      costs_(pool_ && pool_->helpers() > 0 ? std::make_unique<KernelCosts>(plan_) : nullptr) {}

std::vector<Tensor> Dataflow::run(const std::vector<Tensor>& feeds, const RunOptions& options) {
  return run_with(feeds, options, nullptr);
}

std::vector<Tensor> Dataflow::run_timed(const std::vector<Tensor>& feeds, const RunOptions& options,
                                        std::vector<Call>& calls) {
  calls.clear();
  return run_with(feeds, options, &calls);
}

std::vector<Tensor> Dataflow::run_with(const std::vector<Tensor>& feeds, const RunOptions& options,
                                       std::vector<Call>* calls) {
  plan_.signature.check_feeds(feeds);
  std::unique_lock<std::mutex> alone(collective_, std::defer_lock);
  if (plan_.collective) alone.lock();
  std::unique_ptr<DataflowRun> run;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      run = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!run) run = std::make_unique<DataflowRun>(plan_, *resources_, pool_.get(), costs_.get());
  std::vector<Tensor> results = run->execute(feeds, options, calls);  // where it throws, the state goes with it
  std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.size() < kMostIdle) idle_.push_back(std::move(run));
  return results;
}

}  // namespace rf
