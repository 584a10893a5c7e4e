// Sparse updates of variables: rows at `indices`, in place. Duplicate indices accumulate (the last one wins for
// ScatterUpdate), in the order of the indices: the result never depends on a schedule.
#include "kernels/index.h"

namespace rf {
namespace {

struct Replace {
  template <class T>
  T operator()(T, T update) const {
    return update;
  }
};

template <class F>
struct Scatter {
  template <class T>
  static Kernel make(const Node&) {
    return [](Context& c) {
      Tensor& v = c.mutable_input(0);
      const Tensor &indices = c.input(1), &updates = c.input(2);
      check(v.shape().rank() >= 1, "[", c.node().op, "] ref must have at least one dimension");
      const bool scalar = updates.shape().rank() == 0;  // one value for every element
      Shape expected = indices.shape();
      for (int i = 1; i < v.shape().rank(); ++i) expected.add(v.dim(i));
      check(scalar || updates.shape() == expected, "[", c.node().op, "] updates must be a scalar or have the shape ",
            expected, ", indices' and then ref's rows': got ", updates.shape());
      const int64_t n = indices.num_elements(), inner = v.shape().product(1, v.shape().rank());
      T* out = v.data<T>();
      const T* in = updates.data<T>();
      visit_index(indices.dtype(), [&](auto tag) {
        const auto* index = indices.data<typename decltype(tag)::type>();
        check_indices(c, index, n, v.dim(0));
        const int64_t bytes = inner * static_cast<int64_t>(sizeof(T));
        for (int64_t i = 0; i < n; ++i) {
          if (i + kRowsAhead < n)
            fetch_row<true>(reinterpret_cast<char*>(out + static_cast<int64_t>(index[i + kRowsAhead]) * inner), bytes);
          T* row = out + static_cast<int64_t>(index[i]) * inner;
          if (scalar)
            for (int64_t j = 0; j < inner; ++j) row[j] = F()(row[j], *in);
          else
            update_row(F(), row, in + i * inner, inner);
        }
      });
      c.set_ref_output(0, c.variable(0));
    };
  }
};

RF_KERNEL("ScatterAdd", Scatter<formula::Add>::make, float, double, int32_t, int64_t)
RF_KERNEL("ScatterSub", Scatter<formula::Sub>::make, float, double, int32_t, int64_t)
RF_KERNEL_BY("ResourceScatterAdd", "dtype", Scatter<formula::Add>::make, float, double, int32_t, int64_t)
RF_KERNEL_BY("ResourceScatterSub", "dtype", Scatter<formula::Sub>::make, float, double, int32_t, int64_t)
RF_KERNEL_BY("ResourceScatterUpdate", "dtype", Scatter<Replace>::make, float, double, int32_t, int64_t)
RF_KERNEL("ScatterUpdate", Scatter<Replace>::make, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
