// ArgMax and ArgMin: the lowest index wins ties; the first NaN counts as the extreme, as in NumPy.
#include "kernels/axes.h"
#include "kernels/reduce.h"

namespace rf {
namespace {

// x (rows, n): find the extreme on the vector unit, then its first position.
template <class Op, class T, class Out>
void arg_rows(const T* x, int64_t rows, int64_t n, Out* y) {
  run_loop<T>([=] {
    for (int64_t r = 0; r < rows; ++r) {
      const T* row = x + r * n;
      const T best = reduce_row<Op>(row, n);
      int64_t i = 0;
      if (best == best)
        while (i + 1 < n && row[i] != best) ++i;
      else
        while (i + 1 < n && row[i] == row[i]) ++i;
      y[r] = static_cast<Out>(i);
    }
  });
}

// x (n, inner): all columns at once.
template <class Op, class T, class Out>
void arg_columns(const T* x, int64_t n, int64_t inner, T* best, Out* y) {
  run_loop<T>([=] {
    for (int64_t j = 0; j < inner; ++j) {
      best[j] = x[j];
      y[j] = 0;
    }
    for (int64_t i = 1; i < n; ++i) {
      const T* row = x + i * inner;
#pragma GCC ivdep
      for (int64_t j = 0; j < inner; ++j) {
        const T old = best[j], more = Op()(old, row[j]);
        const Out at = y[j];
        // `more` differs from `old` where row[j] beats it; NaN differs from itself but never beats a NaN
        y[j] = (more != old) & (old == old) ? static_cast<Out>(i) : at;
        best[j] = more;
      }
    }
  });
}

template <class Op>
struct ArgReduce {
  template <class T>
  static Kernel make(const Node&) {
    return [](Context& c) {
      const Tensor& x = c.input(0);
      const Shape& s = x.shape();
      const int axis = axis_of(c, int_scalar(c, 1), s.rank());
      Shape shape;
      for (int i = 0; i < s.rank(); ++i)
        if (i != axis) shape.add(s[i]);
      Tensor& y = c.output(0, shape);
      if (y.num_elements() == 0) return;
      const int64_t outer = s.product(0, axis), n = s[axis], inner = s.product(axis + 1, s.rank());
      check(n > 0, "[", c.node().op, "] dimension ", axis, " must not be empty: input is ", s);
      const T* in = x.data<T>();
      visit_index(y.dtype(), [&](auto tag) {
        using Out = typename decltype(tag)::type;
        Out* out = y.data<Out>();
        if (inner == 1) return arg_rows<Op>(in, outer, n, out);
        T* best = static_cast<T*>(c.scratch(static_cast<size_t>(inner) * sizeof(T)));
        for (int64_t o = 0; o < outer; ++o) arg_columns<Op>(in + o * n * inner, n, inner, best, out + o * inner);
      });
    };
  }
};

RF_KERNEL("ArgMax", ArgReduce<MaxOf>::make, float, double, int32_t, int64_t)
RF_KERNEL("ArgMin", ArgReduce<MinOf>::make, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
