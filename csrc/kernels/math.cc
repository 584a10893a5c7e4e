// Arithmetic and elementary functions.
#include <algorithm>

#include "kernels/elementwise.h"

namespace rf {
namespace {

using namespace formula;

// Integer division: zero divisors are an error of the step, not a trap.
template <class F>
struct Division {
  template <class T>
  static Kernel make(const Node&) {
    return [](Context& c) {
      const Tensor &x = c.input(0), &y = c.input(1);
      if constexpr (!is_real<T>) {
        const T* divisor = y.data<T>();
        const int64_t n = y.num_elements();
        bool zero = false;
        for (int64_t i = 0; i < n; ++i) zero |= divisor[i] == T(0);
        zero = zero && x.num_elements() != 0;
        check(!zero, "[", c.node().op, "] integer division by zero. Fix: make every element of y differ from 0");
      }
      broadcast_binary<T, F, T>(c, F(), x, y);
    };
  }
};

template <class T>
Kernel power(const Node&) {
  return [](Context& c) {
    const Tensor &x = c.input(0), &y = c.input(1);
    if constexpr (!is_real<T>) {
      const T* exponent = y.data<T>();
      for (int64_t i = 0, n = y.num_elements(); i < n; ++i)
        check(exponent[i] >= 0, "[Pow] integers to negative integer powers are not allowed: got exponent ", exponent[i],
              ". Fix: cast x and y to a float type");
    } else if (y.num_elements() == 1 && y.shape().rank() == 0 && *y.data<T>() == T(2)) {
      Tensor& z = c.output(0, x.shape());  // the usual case; libm is a hundred times slower
      return map_unary(Square(), x.data<T>(), z.data<T>(), x.num_elements());
    }
    broadcast_binary<T, Pow, T>(c, Pow(), x, y);
  };
}

// Sums in the order of the inputs, up to four at a time, in blocks that stay in the first-level cache. The last group
// of a block goes to the output, which may be any input: all of that block has been read by then.
template <class T>
void add_block(T* acc, const T* const* in, int count, T* out, int64_t n) {
  const T *a = in[0], *b = in[count > 1], *d = in[count > 2 ? 2 : 0], *e = in[count > 3 ? 3 : 0];
  const Add add{};
  run_loop<T>([=] {
    if (acc != nullptr) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = add(acc[i], a[i]);
    } else if (count == 1) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = a[i];
    } else if (count == 2) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = add(a[i], b[i]);
    } else if (count == 3) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = add(add(a[i], b[i]), d[i]);
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = add(add(add(a[i], b[i]), d[i]), e[i]);
    }
  });
}

template <class T>
Kernel add_n(const Node&) {
  return [](Context& c) {
    constexpr int64_t kBlock = 1024;
    const int inputs = c.num_inputs();
    const Shape shape = c.input(0).shape();
    for (int k = 1; k < inputs; ++k)
      check(c.input(k).shape() == shape, "[AddN] all inputs must have the same shape: input 0 is ", shape, ", input ", k,
            " is ", c.input(k).shape());
    const int64_t n = shape.num_elements();
    T* result = c.output(0, shape).data<T>();
    parallel_for(n, kParallelGrain, [&, result](int64_t begin, int64_t end, int) {
      T acc[kBlock];
      const int64_t block = inputs <= 4 ? end - begin : kBlock;
      for (int64_t start = begin; start < end; start += block) {
        const int64_t size = std::min(block, end - start);
        const T* in[4] = {};
        int k = 0;
        for (; k < inputs && k < 4; ++k) in[k] = c.input(k).data<T>() + start;
        add_block<T>(nullptr, in, k, k == inputs ? result + start : acc, size);
        for (; k < inputs; ++k) {
          in[0] = c.input(k).data<T>() + start;
          add_block<T>(acc, in, 1, k + 1 == inputs ? result + start : acc, size);
        }
      }
    });
  };
}

RF_KERNEL_IN_PLACE("Neg", Unary<Neg>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("Abs", Unary<Abs>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("Sign", Unary<Sign>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("Square", Unary<Square>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("Reciprocal", Unary<Reciprocal>::make, float, double)
RF_KERNEL_IN_PLACE("Sqrt", Unary<Sqrt>::make, float, double)
RF_KERNEL_IN_PLACE("Rsqrt", Unary<Rsqrt>::make, float, double)
RF_KERNEL_IN_PLACE("Exp", Unary<Exp>::make, float, double)
RF_KERNEL_IN_PLACE("Log", Unary<Log>::make, float, double)
RF_KERNEL_IN_PLACE("Log1p", Unary<Log1p>::make, float, double)
RF_KERNEL_IN_PLACE("Floor", Unary<Floor>::make, float, double)
RF_KERNEL_IN_PLACE("Ceil", Unary<Ceil>::make, float, double)
RF_KERNEL_IN_PLACE("Expm1", Unary<Expm1>::make, float, double)
RF_KERNEL_IN_PLACE("Sin", Unary<Sin>::make, float, double)
RF_KERNEL_IN_PLACE("Cos", Unary<Cos>::make, float, double)
RF_KERNEL_IN_PLACE("Round", Unary<Round>::make, float, double, int32_t, int64_t)

RF_KERNEL_IN_PLACE("Add", Binary<Add>::make, float, double, int32_t, int64_t, int16_t, int8_t, uint8_t)
RF_KERNEL_IN_PLACE("AddV2", Binary<Add>::make, float, double, int32_t, int64_t, int16_t, int8_t, uint8_t)
RF_KERNEL_IN_PLACE("Sub", Binary<Sub>::make, float, double, int32_t, int64_t, int16_t, int8_t, uint8_t)
RF_KERNEL_IN_PLACE("Mul", Binary<Mul>::make, float, double, int32_t, int64_t, int16_t, int8_t, uint8_t)
RF_KERNEL_IN_PLACE("RealDiv", Binary<RealDiv>::make, float, double)
RF_KERNEL_IN_PLACE("DivNoNan", Binary<DivNoNan>::make, float, double)
RF_KERNEL_IN_PLACE("Maximum", Binary<Maximum>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("Minimum", Binary<Minimum>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("SquaredDifference", Binary<SquaredDifference>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("FloorDiv", Division<FloorDiv>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("FloorMod", Division<FloorMod>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("Pow", power, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("AddN", add_n, float, double, int32_t, int64_t)

RF_KERNEL_IN_PLACE("SqrtGrad", Gradient<SqrtGrad>::make, float, double)
RF_KERNEL_IN_PLACE("RsqrtGrad", Gradient<RsqrtGrad>::make, float, double)
RF_KERNEL_IN_PLACE("ReciprocalGrad", Gradient<ReciprocalGrad>::make, float, double)

}  // namespace
}  // namespace rf
