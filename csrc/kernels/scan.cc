// Cumsum and Cumprod along an axis, and ListDiff.
#include <algorithm>
#include <unordered_set>
#include <vector>

#include "kernels/axes.h"
#include "kernels/elementwise.h"

namespace rf {
namespace {

// The rows of the axis are visited in the direction of the scan; columns are independent.
template <class F, int kFirst>
struct Scan {
  template <class T>
  static Kernel make(const Node& node) {
    const bool exclusive = node.attr<bool>("exclusive", false), reverse = node.attr<bool>("reverse", false);
    return [exclusive, reverse](Context& c) {
      const Tensor& x = c.input(0);
      const Shape& s = x.shape();
      check(s.rank() >= 1, "[", c.node().op, "] x must have at least one dimension");
      const int axis = axis_of(c, int_scalar(c, 1), s.rank());
      const int64_t outer = s.product(0, axis), n = s[axis], inner = s.product(axis + 1, s.rank());
      const T* in = x.data<T>();
      T* out = c.output(0, s).template data<T>();
      if (x.num_elements() == 0) return;
      const F combine{};
      run_loop<T>([=] {
        for (int64_t o = 0; o < outer; ++o) {
          const int64_t start = (o * n + (reverse ? n - 1 : 0)) * inner, step = reverse ? -inner : inner;
          for (int64_t j = 0; j < inner; ++j) out[start + j] = exclusive ? T(kFirst) : in[start + j];
          for (int64_t i = 1; i < n; ++i) {
            const int64_t at = start + i * step, before = at - step;
            const T* next = in + (exclusive ? before : at);
#pragma GCC ivdep
            for (int64_t j = 0; j < inner; ++j) out[at + j] = combine(out[before + j], next[j]);
          }
        }
      });
    };
  }
};

// The elements of x that are not in y, in their order, and their positions.
template <class T>
Kernel list_diff(const Node&) {
  return [](Context& c) {
    const Tensor &x = c.input(0), &y = c.input(1);
    check(x.rank() == 1 && y.rank() == 1, "[ListDiff] x and y must be vectors: got shapes ", x.shape(), " and ",
          y.shape());
    const T *in = x.data<T>(), *dropped = y.data<T>();
    const std::unordered_set<T> drop(dropped, dropped + y.num_elements());
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < x.num_elements(); ++i)
      if (!drop.count(in[i])) kept.push_back(i);
    const Shape shape{static_cast<int64_t>(kept.size())};
    T* out = c.output(0, shape).template data<T>();
    Tensor& positions = c.output(1, shape);
    visit_index(positions.dtype(), [&](auto tag) {
      using Index = typename decltype(tag)::type;
      Index* at = positions.data<Index>();
      for (size_t i = 0; i < kept.size(); ++i) {
        out[i] = in[kept[i]];
        at[i] = static_cast<Index>(kept[i]);
      }
    });
  };
}

using Cumsum = Scan<formula::Add, 0>;
using Cumprod = Scan<formula::Mul, 1>;
RF_KERNEL("Cumsum", Cumsum::make, float, double, int32_t, int64_t)
RF_KERNEL("Cumprod", Cumprod::make, float, double, int32_t, int64_t)
RF_KERNEL("ListDiff", list_diff, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
