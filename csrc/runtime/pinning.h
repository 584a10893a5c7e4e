// Where bucketed gradients live: asked by the planner, answered by the collectives layer.
//
// `_BucketReduce` (inputs: N gradients of T, attrs `bucket` int, `elements` list(int), one per input) starts the
// allreduce of a bucket; `_BucketWait` (outputs: N tensors of T, same attrs) ends it. The resource named
// "communicator" in kCommunicatorContainer of the session's Resources may also be a Pinning. The planner then lets the
// producers of a bucket's gradients write into the bucket and the readers of the result read there.
//
// Contract
// - Called while a plan is made, `inputs` of every `_BucketReduce` first, then `outputs` of every `_BucketWait`,
//   each in the order of execution, which is the same on every rank that has the same graph. The GIL is not held.
// - Addresses are 64-byte aligned, do not overlap within one call, and have room for `elements[i]` of T. They stay
//   valid while `keep_alive` is held; the plan holds it as long as it lives.
// - Inputs and results may be the same memory: a pinned gradient has no reader but its `_BucketReduce`.
// - A pinned address is an offer: the planner takes it only where the producer can write there (not a variable,
//   constant, feed, a tensor that others read too, or one of unknown shape). So kernels compare: `_BucketReduce` copies
//   input i unless `c.input(i).raw()` is the address, `_BucketWait` copies unless `c.output(i, shape).raw()` is.
// - The memory is written again in the next run of the plan, as soon as `_BucketWait` has returned: it must by
//   then have been read by everybody. Of a result in place (attr `in_place`) the last moment is the `_RanksMeet` that ends
//   the program (collectives/release.py); so a fetch, which may come later, never reads pinned memory.
#pragma once

#include <memory>
#include <vector>

#include "base/node.h"

namespace rf {

// Apart from variables: Session.reset() drops those, not the communicator that later plans need.
constexpr const char* kCommunicatorContainer = "_ringflow";

struct Pinned {
  std::vector<void*> addresses;  // one per input or output; null, or the whole list empty: the planner places it
  std::shared_ptr<void> keep_alive;
};

class Pinning {
 public:
  virtual ~Pinning() = default;
  virtual Pinned inputs(const Node& reduce) = 0;
  virtual Pinned outputs(const Node& wait) = 0;
};

}  // namespace rf
