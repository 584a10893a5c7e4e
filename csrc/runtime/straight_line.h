// The schedule of a graph without control flow and without kernels that wait: straight through the steps of a plan.
//
// Between the first and the last step there is no lock, no queue and, for outputs of planned shape, no allocation.
// Nodes with a control edge from a `_Gate` (proceed: bool) are skipped while it is false; only updates and ops without
// outputs can be.
// Thread-safe: one run at a time, others wait. A failed run leaves the schedule usable.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernel.h"
#include "runtime/memory.h"
#include "runtime/plan.h"
#include "runtime/schedule.h"

namespace rf {

class StraightLine : public Schedule {
 public:
  StraightLine(GraphDef graph, std::shared_ptr<Resources> resources);

  std::vector<Tensor> run(const std::vector<Tensor>& feeds, const RunOptions& options) override;
  std::vector<Tensor> run_timed(const std::vector<Tensor>& feeds, const RunOptions& options,
                                std::vector<Call>& calls) override;

  const CallSignature& signature() const override { return plan_.signature; }
  size_t arena_bytes() const override { return plan_.arena_bytes; }
  int num_steps() const override { return static_cast<int>(steps_.size()); }
  // A line for each node in order of execution.
  std::string describe() const override { return rf::describe(plan_); }

 private:
  struct Step {
    Kernel kernel;
    const Node* node;
    Slot* const* inputs;
    Slot* outputs;
    int num_inputs;
    int num_outputs;
  };

  struct Feed {
    Slot* slot = nullptr;  // null: nothing reads it
    bool planned = false;  // the plan counts on `shape`
    Shape shape;
  };

  void make_slots();
  void make_steps();
  void add_step(const PlanNode& p, Kernel kernel);
  Kernel gate(const PlanNode& p);
  Kernel gated(const PlanNode& p, Kernel kernel);
  Kernel fetch(const PlanNode& p, int position);
  Kernel first_value(const PlanNode& p, Kernel kernel);
  const Storage& storage_of(int value) const {
    return plan_.storages[static_cast<size_t>(plan_.values[static_cast<size_t>(value)].storage)];
  }
  bool bind_feeds(const std::vector<Tensor>& feeds);
  void plan_shared(bool on);
  void release();
  template <class Loop>
  std::vector<Tensor> run_with(const std::vector<Tensor>& feeds, const RunOptions& options, Loop loop);

  std::shared_ptr<Resources> resources_;
  RunState run_state_;
  Plan plan_;
  Arena arena_;
  std::mutex mutex_;
  std::vector<Slot> slots_;  // one per value of the plan
  std::vector<Tensor> results_;
  std::vector<Feed> feeds_;
  std::vector<Step> steps_;
  std::vector<std::unique_ptr<Slot*[]>> input_lists_;
  std::vector<std::unique_ptr<bool>> gates_;      // of _Gate nodes: whether this run passes
  std::map<std::string, const bool*> gate_of_;    // by node name
  std::vector<Slot*> fresh_;           // hold memory of the run; released by steps
  std::vector<Slot*> variable_reads_;  // share a variable's memory; released after the run
  std::vector<std::pair<Slot*, void*>> shared_;  // outputs planned over an input or inside of another output, and where
};

}  // namespace rf
