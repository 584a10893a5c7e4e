#include "kernels/accumulator.h"

namespace rf {

AccumulatorSpec::AccumulatorSpec(const Node& node)
    : op(node.op), container(node.attr<std::string>("container", "")), name(node.attr<std::string>("shared_name", "")),
      dtype(node.attr<DType>("dtype")), shape(node.attr<PartialShape>("shape")) {
  if (name.empty()) name = node.name;
  const std::string reduction = node.attr<std::string>("reduction_type", "MEAN");
  check(reduction == "MEAN" || reduction == "SUM", "[", op, "] reduction_type must be MEAN or SUM: got '", reduction, "'");
  mean = reduction == "MEAN";
}

struct Accumulator::Take : Attempt {
  Take(Accumulator& accumulator, int64_t required, Context& c) : accumulator(accumulator), required(required), context(c) {}

  Step step() override {
    if (accumulator.count_ < required) return Step::Waits;
    write = accumulator.release(accumulator.count_);
    accumulator.count_ = 0;
    ++accumulator.step_;
    return Step::Done;
  }
  void finish() override { write(context); }

  Accumulator& accumulator;
  const int64_t required;
  Context& context;
  Write write;
};

int64_t Accumulator::count() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return count_;
}

void Accumulator::set_step(int64_t step) {
  change([&](auto&) { step_ = step; });
}

void Accumulator::take(int64_t required, Context& c, Done done) {
  start(0, std::make_shared<Take>(*this, required, c), {c.run().cancellation, -1, "TakeGradient operation"}, std::move(done));
}

}  // namespace rf
