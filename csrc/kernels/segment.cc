// UnsortedSegmentSum and Unique.
#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "kernels/axes.h"
#include "kernels/index.h"

namespace rf {
namespace {

// Row s of the output is the sum of the data rows with segment id s, in their order. Negative ids are dropped.
template <class T>
Kernel unsorted_segment_sum(const Node&) {
  return [](Context& c) {
    const Tensor &data = c.input(0), &ids = c.input(1);
    const Shape &d = data.shape(), &s = ids.shape();
    check(d.rank() >= s.rank() && Shape(d.begin(), d.begin() + s.rank()) == s,
          "[UnsortedSegmentSum] the shape of data, ", d, ", must begin with that of segment_ids, ", s);
    const int64_t segments = int_scalar(c, 2), n = s.num_elements(), inner = d.product(s.rank(), d.rank());
    Shape shape{segments};
    for (int i = s.rank(); i < d.rank(); ++i) shape.add(d[i]);
    Tensor& y = c.output(0, shape);
    std::memset(y.raw(), 0, y.bytes());
    T* out = y.data<T>();
    const T* in = data.data<T>();
    visit_index(ids.dtype(), [&](auto tag) {
      const auto* id = ids.data<typename decltype(tag)::type>();
      for (int64_t i = 0; i < n; ++i)
        check(id[i] < segments, "[UnsortedSegmentSum] segment id ", id[i], " at position ", i,
              " must be less than num_segments = ", segments);
      for (int64_t i = 0; i < n; ++i)
        if (id[i] >= 0) add_row(out + static_cast<int64_t>(id[i]) * inner, in + i * inner, inner);
    });
  };
}

// y: the distinct elements in the order of their first appearance; idx: where each element of x is in y.
template <class T>
Kernel unique(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    check(x.shape().rank() == 1, "[Unique] x must be a vector: got shape ", x.shape());
    const int64_t n = x.num_elements();
    const T* in = x.data<T>();
    Tensor& positions = c.output(1, x.shape());
    std::unordered_map<T, int64_t> seen;
    seen.reserve(static_cast<size_t>(n));
    std::vector<T> distinct;
    visit_index(positions.dtype(), [&](auto tag) {
      using Index = typename decltype(tag)::type;
      Index* at = positions.data<Index>();
      for (int64_t i = 0; i < n; ++i) {
        const auto [entry, fresh] = seen.emplace(in[i], static_cast<int64_t>(distinct.size()));
        if (fresh) distinct.push_back(in[i]);
        at[i] = static_cast<Index>(entry->second);
      }
    });
    Tensor& y = c.output(0, {static_cast<int64_t>(distinct.size())});
    std::copy(distinct.begin(), distinct.end(), y.data<T>());
  };
}

RF_KERNEL("UnsortedSegmentSum", unsorted_segment_sum, float, double, int32_t, int64_t)
RF_KERNEL("Unique", unique, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
