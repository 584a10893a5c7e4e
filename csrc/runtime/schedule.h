// How a graph is run: what its two ways, the straight line and the data flow, have in common.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "base/cancellation.h"
#include "runtime/signature.h"

namespace rf {

class Rendezvous;  // runtime/rendezvous.h

struct RunOptions {
  int64_t timeout_ms = 0;                // DeadlineExceeded after so long; 0: never
  Cancellation* cancellation = nullptr;  // ends the run as Cancelled; it outlives the run
  bool (*interrupted)() = nullptr;       // asked about every 100 ms by the calling thread of a run that can block
  Rendezvous* rendezvous = nullptr;      // with the other partitions; it outlives the run
};

// One call of a kernel, in a run with a clock.
struct Call {
  struct Output {
    DType dtype;
    Shape shape;
    size_t bytes;
  };
  const Node* node;  // of the executable
  int64_t start_ns;  // since the run began
  int64_t end_ns;
  int thread;  // 0: the calling one; others are numbered as they join
  std::vector<Output> outputs;  // those that are tensors and alive
};

class Schedule {
 public:
  virtual ~Schedule() = default;
  // The tensors of the _Retval nodes, by index; each owns its memory. An rf::Error carries the node.
  virtual std::vector<Tensor> run(const std::vector<Tensor>& feeds, const RunOptions& options) = 0;
  // The same, and every call of a kernel, by start.
  virtual std::vector<Tensor> run_timed(const std::vector<Tensor>& feeds, const RunOptions& options,
                                        std::vector<Call>& calls) = 0;

  virtual const CallSignature& signature() const = 0;
  virtual size_t arena_bytes() const = 0;
  virtual int num_steps() const = 0;
  virtual std::string describe() const = 0;
};

// What a kernel threw, as an Error that carries its node.
Error error_of(std::exception_ptr thrown, const Node& node);

// The tensors among the outputs of a call, for its record.
inline std::vector<Call::Output> outputs_of(const Slot* outputs, int count) {
  std::vector<Call::Output> tensors;
  for (int k = 0; k < count; ++k)
    if (const Tensor& t = *outputs[k].tensor; t.initialized()) tensors.push_back({t.dtype(), t.shape(), t.bytes()});
  return tensors;
}

}  // namespace rf
