// The schedule of a graph with control flow, or with kernels that wait: nodes run when their tokens have come.
//
// Thread-safe: any number of runs at once, each with a state of its own; one at a time where the graph meets other ranks.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/dataflow_plan.h"
#include "runtime/dataflow_run.h"
#include "runtime/schedule.h"

namespace rf {

class Dataflow : public Schedule {
 public:
  // `pool` may be null.
  Dataflow(GraphDef graph, std::shared_ptr<Resources> resources, std::shared_ptr<InterOpPool> pool);

  std::vector<Tensor> run(const std::vector<Tensor>& feeds, const RunOptions& options) override;
  std::vector<Tensor> run_timed(const std::vector<Tensor>& feeds, const RunOptions& options,
                                std::vector<Call>& calls) override;

  const CallSignature& signature() const override { return plan_.signature; }
  size_t arena_bytes() const override { return 0; }
  int num_steps() const override { return static_cast<int>(plan_.nodes.size()); }
  std::string describe() const override { return rf::describe(plan_); }

 private:
  std::vector<Tensor> run_with(const std::vector<Tensor>& feeds, const RunOptions& options, std::vector<Call>* calls);

  const std::shared_ptr<Resources> resources_;
  const std::shared_ptr<InterOpPool> pool_;
  const FlowPlan plan_;
  const std::unique_ptr<KernelCosts> costs_;  // null without helpers
  std::mutex collective_;
  std::mutex mutex_;  // of idle_
  std::vector<std::unique_ptr<DataflowRun>> idle_;  // states of runs that have ended well, for the next ones
};

}  // namespace rf
