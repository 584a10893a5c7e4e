// TopKV2 and InTopKV2, over the last dimension.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/axes.h"

namespace rf {
namespace {

template <class T>
bool is_nan(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(x);
  else
    return false;
}

// Largest first, the lower index first among equals; NaN counts as larger than all, as in NumPy's sort.
template <class T>
Kernel top_k(const Node& node) {
  const bool sorted = node.attr<bool>("sorted", true);
  return [sorted](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank();
    const int64_t k = int_scalar(c, 1);
    check(rank >= 1 && k >= 0 && k <= x.dim(rank - 1), "[TopKV2] k must lie in [0, n], n the last dimension of ", x.shape(),
          ": got ", k);
    Shape shape = x.shape();
    shape.set(rank - 1, k);
    T* values = c.output(0, shape).template data<T>();
    Tensor& indices = c.output(1, shape);
    const int64_t n = x.dim(rank - 1), rows = x.shape().product(0, rank - 1);
    std::vector<int32_t> order(static_cast<size_t>(n));
    visit_index(indices.dtype(), [&](auto tag) {
      using Index = typename decltype(tag)::type;
      Index* at = indices.data<Index>();
      for (int64_t r = 0; r < rows; ++r, values += k, at += k) {
        const T* row = x.data<T>() + r * n;
        const auto before = [row](int32_t a, int32_t b) {
          const T p = row[a], q = row[b];
          if (is_nan(p) || is_nan(q)) return is_nan(p) && (!is_nan(q) || a < b);
          return p > q || (p == q && a < b);
        };
        std::iota(order.begin(), order.end(), 0);
        if (k < n) std::nth_element(order.begin(), order.begin() + k, order.end(), before);
        if (sorted)
          std::sort(order.begin(), order.begin() + k, before);
        else
          std::sort(order.begin(), order.begin() + k);
        for (int64_t i = 0; i < k; ++i) {
          at[i] = static_cast<Index>(order[static_cast<size_t>(i)]);
          values[i] = row[order[static_cast<size_t>(i)]];
        }
      }
    });
  };
}

// Is the target among the k best? Ties at the border count as in. A target out of range is not, nor any target of a
// row with a prediction that is not finite.
Kernel in_top_k(const Node&) {
  return [](Context& c) {
    const Tensor &predictions = c.input(0), &targets = c.input(1);
    check(predictions.shape().rank() == 2 && targets.shape() == Shape{predictions.dim(0)},
          "[InTopKV2] predictions must be (batch, classes) and targets (batch,): got ", predictions.shape(), " and ",
          targets.shape());
    const int64_t k = int_scalar(c, 2), n = predictions.dim(1);
    bool* y = c.output(0, targets.shape()).data<bool>();
    visit_index(targets.dtype(), [&](auto tag) {
      const auto* target = targets.data<typename decltype(tag)::type>();
      for (int64_t r = 0; r < predictions.dim(0); ++r) {
        const float* row = predictions.data<float>() + r * n;
        y[r] = false;
        if (target[r] < 0 || target[r] >= n || !std::isfinite(row[target[r]])) continue;
        const float mine = row[target[r]];
        int64_t better = 0;
        bool finite = true;
        for (int64_t j = 0; j < n; ++j) {
          finite &= std::isfinite(row[j]);
          better += row[j] > mine;
        }
        y[r] = finite && better < k;
      }
    });
  };
}

RF_KERNEL("TopKV2", top_k, float, double, int32_t, int64_t)
RF_KERNEL_ANY("InTopKV2", None, in_top_k)

}  // namespace
}  // namespace rf
