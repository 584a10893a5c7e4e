// A graph that runs: feeds in, fetches out. Which schedule runs it is decided once, by what the graph holds.
//
// Thread-safe. A graph that runs as a straight line runs once at a time, others wait; any number of threads may run a
// graph with control flow or with kernels that wait (queues) at once. A failed run leaves the executable usable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/inter_op_pool.h"
#include "runtime/schedule.h"
#include "runtime/wire.h"

namespace rf {

class Executable {
 public:
  // The threads of `pool` help where a graph with control flow has several costly nodes ready at once.
  Executable(const void* graph_def, size_t bytes, std::shared_ptr<Resources> resources,
             std::shared_ptr<InterOpPool> pool = nullptr);
  Executable(GraphDef graph, std::shared_ptr<Resources> resources, std::shared_ptr<InterOpPool> pool = nullptr);
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  // The tensors of the _Retval nodes, by index; each owns its memory. `feeds` are those of the _Arg nodes, by index,
  // borrowed for the call and never written; one that no _Arg reads is ignored. An rf::Error carries the node.
  // InvalidArgument ("Retval[i] does not have value") for a result on a branch that was not taken.
  std::vector<Tensor> run(const std::vector<Tensor>& feeds, const RunOptions& options = {}) {
    return schedule_->run(feeds, options);
  }
  // The same, and every call of a kernel, by start.
  std::vector<Tensor> run_timed(const std::vector<Tensor>& feeds, std::vector<Call>& calls,
                                const RunOptions& options = {}) {
    return schedule_->run_timed(feeds, options, calls);
  }

  const std::vector<Argument>& arguments() const { return schedule_->signature().arguments; }
  const std::vector<DType>& result_dtypes() const { return schedule_->signature().result_dtypes; }
  size_t arena_bytes() const { return schedule_->arena_bytes(); }
  int num_steps() const { return schedule_->num_steps(); }
  // The plan as text: a line for each node.
  std::string describe() const { return schedule_->describe(); }

 private:
  const std::unique_ptr<Schedule> schedule_;
};

}  // namespace rf
