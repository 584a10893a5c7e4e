// A planned graph that runs: feeds in, fetches out, straight through the steps of the plan.
//
// Between the first and the last step there is no lock, no queue and, for outputs of planned shape, no allocation.
// Nodes with a control edge from a `_Gate` (proceed: bool) are skipped while it is false; only updates and ops without
// outputs can be.
// Thread-safe: one run at a time, others wait. A failed run leaves the executable usable.
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

namespace rf {

class Executable {
 public:
  Executable(const void* graph_def, size_t bytes, std::shared_ptr<Resources> resources);
  Executable(GraphDef graph, std::shared_ptr<Resources> resources);
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  // The tensors of the _Retval nodes, by index; each owns its memory. `feeds` are those of the _Arg nodes, by index,
  // borrowed for the call and never written; one that no _Arg reads is ignored. An rf::Error carries the node.
  std::vector<Tensor> run(const std::vector<Tensor>& feeds);
  // The same, and the microseconds of every node in order of execution.
  std::vector<Tensor> run_timed(const std::vector<Tensor>& feeds, std::vector<std::pair<std::string, double>>& times);

  const std::vector<Argument>& arguments() const { return plan_.arguments; }
  const std::vector<DType>& result_dtypes() const { return plan_.result_dtypes; }
  size_t arena_bytes() const { return plan_.arena_bytes; }
  int num_steps() const { return static_cast<int>(steps_.size()); }
  // The plan as text: a line for each node in order of execution.
  std::string describe() const { return rf::describe(plan_); }

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
    DType dtype = DType::Invalid;
    bool planned = false;  // the plan counts on `shape`
    Shape shape;
  };

  void make_slots();
  void make_steps();
  void add_step(const PlanNode& p, Kernel kernel);
  static Kernel waiting(AsyncKernel kernel);
  Kernel make_kernel(const PlanNode& p);
  Kernel gate(const PlanNode& p);
  Kernel gated(const PlanNode& p, Kernel kernel);
  Kernel fetch(const PlanNode& p, int position);
  const Storage& storage_of(int value) const {
    return plan_.storages[static_cast<size_t>(plan_.values[static_cast<size_t>(value)].storage)];
  }
  bool bind_feeds(const std::vector<Tensor>& feeds);
  void plan_in_place(bool on);
  void release();
  template <class Loop>
  std::vector<Tensor> run_with(const std::vector<Tensor>& feeds, Loop loop);

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
  std::vector<std::pair<Slot*, void*>> in_place_;  // outputs planned over an input, and where
};

}  // namespace rf
