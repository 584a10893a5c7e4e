// ArgMax and ArgMin: the lowest index wins ties; the first NaN counts as the extreme, as in NumPy.
#include <algorithm>
#include <type_traits>

#include "kernels/axes.h"
#include "kernels/reduce.h"

namespace rf {
namespace {

// The first position of `best` in a row that holds it, or of a NaN where best is one: by blocks, the least position in each,
// on the vector unit.
template <class T>
inline int64_t find(const T* row, int64_t n, T best) {
  using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;  // lanes as wide as the elements'
  constexpr Index kBlock = 1024;
  const bool nan = best != best;
  for (int64_t start = 0; start < n; start += kBlock) {
    const T* block = row + start;
    const Index size = static_cast<Index>(std::min<int64_t>(kBlock, n - start));
    Index at = kBlock;
    for (Index j = 0; j < size; ++j) {
      const bool here = nan ? block[j] != block[j] : block[j] == best;
      const Index position = here ? j : kBlock;
      at = position < at ? position : at;
    }
    if (at != kBlock) return start + at;
  }
  return n - 1;
}

// x (rows, n): find the extreme on the vector unit, then its first position.
template <class Op, class T, class Out>
void arg_rows(const T* x, int64_t rows, int64_t n, Out* y) {
  parallel_for(rows, 1 + kParallelGrain / (n + 1), [=](int64_t begin, int64_t end, int) {
    run_loop<T>([=] {
      for (int64_t r = begin; r < end; ++r) y[r] = static_cast<Out>(find(x + r * n, n, reduce_row<Op>(x + r * n, n)));
    });
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
