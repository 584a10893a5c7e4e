// The conditional accumulators of dense gradients, and the ops that both kinds share. TensorFlow has every op twice, for
// handles that are references to strings and for resources; they are one here.
#include <type_traits>
#include <utility>

#include "kernels/accumulator.h"
#include "kernels/elementwise.h"

namespace rf {
namespace {

// Sums gradients of one shape.
class DenseAccumulator : public Accumulator {
 public:
  using Accumulator::Accumulator;

  template <class T>
  void add(int64_t local_step, const Tensor& gradient) {
    const T* in = gradient.data<T>();
    check(spec_.dtype == gradient.dtype(), "[", spec_.op, "] accumulator '", spec_.name, "' sums ", name_of(spec_.dtype),
          ": got ", name_of(gradient.dtype()));
    apply(local_step, [&](bool first) {
      PartialShape wanted = spec_.shape;
      if (!first) wanted = {false, {sum_.shape().begin(), sum_.shape().end()}};
      check(fits(wanted, gradient.shape()), "[", spec_.op, "] Shape mismatch: accumulator '", spec_.name, "' expected ",
            text_of(wanted), ", got ", gradient.shape());
      if (first) {
        sum_ = copy_of(gradient);
        return;
      }
      T* sum = sum_.data<T>();
      const int64_t n = sum_.num_elements();
      run_loop<T>([=] {
        for (int64_t i = 0; i < n; ++i) sum[i] += in[i];
      });
    });
  }

 private:
  Write release(int64_t count) override {
    return [sum = std::move(sum_), count, mean = spec_.mean](Context& c) mutable {
      check(sum.dtype() == c.output_dtype(0), "[", c.node().op, "] the gradient is ", name_of(sum.dtype()), ", the op gives ",
            name_of(c.output_dtype(0)));
      if (mean && count > 1)
        visit(sum.dtype(), [&](auto tag) {
          using T = typename decltype(tag)::type;
          if constexpr (std::is_arithmetic_v<T>) {
            T* values = sum.data<T>();
            for (int64_t i = 0; i < sum.num_elements(); ++i) values[i] = static_cast<T>(values[i] / static_cast<T>(count));
          }
        });
      c.set_output(0, sum);
    };
  }

  Tensor sum_;  // under mutex_
};

template <class T>
Kernel apply_gradient(const Node&) {
  return [](Context& c) { c.resource<DenseAccumulator>(0)->add<T>(c.input(1).scalar<int64_t>(), c.input(2)); };
}

AsyncKernel take_gradient(const Node&) {
  return [](Context& c, Done done) {
    std::shared_ptr<Accumulator> accumulator;
    int64_t required = 0;
    const bool fit = succeeds(done, [&] {
      accumulator = c.resource<Accumulator>(0);
      required = c.input(1).scalar<int32_t>();
      check(required > 0, "[", c.node().op, "] Argument num_required must be positive, but was ", required);
    });
    if (fit) accumulator->take(required, c, std::move(done));
  };
}

Kernel set_global_step(const Node&) {
  return [](Context& c) { c.resource<Accumulator>(0)->set_step(c.input(1).scalar<int64_t>()); };
}

Kernel num_accumulated(const Node&) {
  return [](Context& c) {
    *c.output(0, {}).data<int32_t>() = static_cast<int32_t>(c.resource<Accumulator>(0)->count());
  };
}

RF_KERNEL_ANY("ConditionalAccumulator", None, accumulator_kernel<DenseAccumulator>)
RF_KERNEL_ANY("ResourceConditionalAccumulator", None, accumulator_kernel<DenseAccumulator>)
RF_KERNEL_BY("AccumulatorApplyGradient", "dtype", apply_gradient, float, double, int32_t, int64_t)
RF_KERNEL_BY("ResourceAccumulatorApplyGradient", "dtype", apply_gradient, float, double, int32_t, int64_t)
RF_KERNEL_ASYNC("AccumulatorTakeGradient", take_gradient)
RF_KERNEL_ASYNC("ResourceAccumulatorTakeGradient", take_gradient)
RF_KERNEL_ASYNC("SparseAccumulatorTakeGradient", take_gradient)
RF_KERNEL_ANY("AccumulatorSetGlobalStep", None, set_global_step)
RF_KERNEL_ANY("ResourceAccumulatorSetGlobalStep", None, set_global_step)
RF_KERNEL_ANY("AccumulatorNumAccumulated", None, num_accumulated)
RF_KERNEL_ANY("ResourceAccumulatorNumAccumulated", None, num_accumulated)

}  // namespace
}  // namespace rf
