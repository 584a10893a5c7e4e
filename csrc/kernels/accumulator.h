// Gradients of several workers, summed until enough have come: what the conditional accumulators have in common.
//
// A gradient of an earlier step than the accumulator's is dropped without a word. Whoever takes waits until n gradients
// have come, gets all that came, and the accumulator is empty and one step further. Takers are served in order.
// Source: TensorFlow's ConditionalAccumulatorBase.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/node.h"
#include "kernels/state.h"
#include "kernels/waiting.h"

namespace rf {

struct AccumulatorSpec {
  std::string op;  // for errors
  std::string container;
  std::string name;
  DType dtype = DType::Invalid;
  PartialShape shape;
  bool mean = true;  // else the sum

  explicit AccumulatorSpec(const Node& node);
};

class Accumulator : public Waiting {
 public:
  using Write = std::function<void(Context&)>;

  explicit Accumulator(const AccumulatorSpec& spec) : Waiting(1), spec_(spec) {}

  const AccumulatorSpec& spec() const { return spec_; }
  int64_t count() const;
  void set_step(int64_t step);
  // Waits for `required` gradients and writes what they make to the outputs of `c`.
  void take(int64_t required, Context& c, Done done);

 protected:
  // Calls `add`, under the lock, unless the gradient is out of date. What it throws leaves the accumulator as it was.
  template <class F>
  void apply(int64_t local_step, F add) {
    change([&](auto&) {
      if (local_step < step_) return;
      add(count_ == 0);
      ++count_;
    });
  }
  // Empties the accumulator of `count` gradients; the rest, called without the lock, writes them. Under the lock.
  virtual Write release(int64_t count) = 0;

  const AccumulatorSpec spec_;

 private:
  struct Take;

  int64_t count_ = 0;  // under mutex_
  int64_t step_ = 0;   // under mutex_
};

// The kernel of an op that makes accumulators of type A. Nodes that share one must agree on what it is.
template <class A>
Kernel accumulator_kernel(const Node& node) {
  return [spec = AccumulatorSpec(node), found = Cached<A>()](Context& c) mutable {
    A& accumulator = found.get(c.resources(), [&] {
      auto a = c.resources().find_or_create<A>(spec.container, spec.name, [&] { return std::make_shared<A>(spec); });
      check(a->spec().dtype == spec.dtype && a->spec().mean == spec.mean, "[", spec.op, "] shared accumulator '", spec.name,
            "' has another dtype or reduction_type than those requested");
      return a;
    });
    c.set_resource_output(0, accumulator.shared_from_this());
  };
}

}  // namespace rf
