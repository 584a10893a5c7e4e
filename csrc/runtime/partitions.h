// A graph in several parts, one for each device, that runs as one: the parts run at once and meet in a rendezvous.
//
// A run has one thread for each part, the calling one among them, a rendezvous of its own, and one end: the first error
// stops all parts and is the run's. Thread-safe: any number of runs at once. A failed run leaves the object usable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/crew.h"
#include "runtime/executor.h"

namespace rf {

class Partitions {
 public:
  // `graph_defs`: the parts; `fetches[p][i]` is the index in the run's results of part p's _Retval i. Indices of _Arg are
  // those of the run's feeds in every part.
  Partitions(const std::vector<std::string>& graph_defs, std::vector<std::vector<int>> fetches,
             std::shared_ptr<Resources> resources);

  // As Executable::run.
  std::vector<Tensor> run(const std::vector<Tensor>& feeds, const RunOptions& options = {});
  // The same; calls[p] are those of part p.
  std::vector<Tensor> run_timed(const std::vector<Tensor>& feeds, std::vector<std::vector<Call>>& calls,
                                const RunOptions& options = {});

  size_t size() const { return parts_.size(); }
  const Executable& part(size_t p) const { return *parts_[p]; }
  // What the run is fed, by index: of the first part that reads it.
  const std::vector<Argument>& arguments() const { return arguments_; }

 private:
  std::vector<Tensor> run_all(const std::vector<Tensor>& feeds, const RunOptions& options,
                              std::vector<std::vector<Call>>* calls);

  std::vector<std::unique_ptr<Executable>> parts_;
  const std::vector<std::vector<int>> fetches_;
  std::vector<Argument> arguments_;
  size_t results_ = 0;
  Crew crew_;
};

}  // namespace rf
