// SparseSegmentSum, SparseSegmentMean and their gradients: rows chosen by index, grouped by ascending segment ids.
// Sums run in the order of the indices.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/axes.h"
#include "kernels/index.h"

namespace rf {
namespace {

struct Segments {
  std::vector<int64_t> indices, ids, counts;  // counts: of each segment up to the last id
  int64_t n = 0, segments = 0;

  // InvalidArgument where indices leave [0, rows) or ids are not ascending.
  Segments(Context& c, int64_t rows) : indices(int_values(c.input(1))), ids(int_values(c.input(2))) {
    check(c.input(1).rank() == 1 && c.input(1).shape() == c.input(2).shape(), "[", c.node().op,
          "] indices and segment_ids must be vectors of one size: got shapes ", c.input(1).shape(), " and ",
          c.input(2).shape());
    n = static_cast<int64_t>(ids.size());
    check_indices(c, indices.data(), n, rows);
    for (size_t i = 0; i < ids.size(); ++i)
      check(ids[i] >= (i ? ids[i - 1] : 0), "[", c.node().op, "] segment ids must be >= 0 and ascending: got ", ids[i],
            " at position ", i);
    segments = n ? ids.back() + 1 : 0;
    counts.assign(static_cast<size_t>(segments), 0);
    for (int64_t id : ids) ++counts[static_cast<size_t>(id)];
  }
};

void clear(Tensor& t) {
  if (t.bytes() != 0) std::memset(t.raw(), 0, t.bytes());
}

template <class T, bool kMean>
Kernel reduce_segments(const Node&) {
  return [](Context& c) {
    const Tensor& data = c.input(0);
    check(data.rank() >= 1, "[", c.node().op, "] data must have at least one dimension");
    const Segments s(c, data.dim(0));
    const int64_t inner = data.shape().product(1, data.rank());
    Shape shape = data.shape();
    shape.set(0, s.segments);
    Tensor& y = c.output(0, shape);
    clear(y);
    T* out = y.data<T>();
    const T* in = data.data<T>();
    for (size_t i = 0; i < s.ids.size(); ++i) add_row(out + s.ids[i] * inner, in + s.indices[i] * inner, inner);
    if (!kMean) return;
    for (int64_t k = 0; k < s.segments; ++k) {
      const T count = static_cast<T>(std::max<int64_t>(s.counts[static_cast<size_t>(k)], 1));
      for (int64_t j = 0; j < inner; ++j) out[k * inner + j] /= count;
    }
  };
}

// out[place[indices[i]]] += grad[ids[i]], over the size of the segment for means.
template <class T, bool kMean>
void spread(Context& c, const Segments& s, const int64_t* place, Tensor& y) {
  const Tensor& grad = c.input(0);
  check(s.segments <= grad.dim(0), "[", c.node().op, "] segment ids must be below the rows of grad, ", grad.dim(0),
        ": got ", s.segments - 1);
  clear(y);
  const int64_t inner = grad.shape().product(1, grad.rank());
  T* out = y.data<T>();
  const T* in = grad.data<T>();
  for (size_t i = 0; i < s.ids.size(); ++i) {
    T* row = out + (place ? place[s.indices[i]] : s.indices[i]) * inner;
    const T* from = in + s.ids[i] * inner;
    const T count = static_cast<T>(s.counts[static_cast<size_t>(s.ids[i])]);
    for (int64_t j = 0; j < inner; ++j) row[j] += kMean ? from[j] / count : from[j];
  }
}

int64_t data_rows(Context& c) {
  const int64_t rows = int_scalar(c, 3);
  check(rows >= 0 && c.input(0).rank() >= 1, "[", c.node().op, "] the data must have at least 0 rows: got ", rows);
  return rows;
}

template <class T, bool kMean>
Kernel dense_gradient(const Node&) {
  return [](Context& c) {
    const int64_t rows = data_rows(c);
    const Segments s(c, rows);
    Shape shape = c.input(0).shape();
    shape.set(0, rows);
    spread<T, kMean>(c, s, nullptr, c.output(0, shape));
  };
}

template <class T, bool kMean>
Kernel sparse_gradient(const Node&) {
  return [](Context& c) {
    const int64_t rows = data_rows(c);
    const Segments s(c, rows);
    std::vector<int64_t> unique(s.indices), place(static_cast<size_t>(rows));
    std::sort(unique.begin(), unique.end());
    unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
    for (size_t i = 0; i < unique.size(); ++i) place[static_cast<size_t>(unique[i])] = static_cast<int64_t>(i);
    Shape shape = c.input(0).shape();
    shape.set(0, static_cast<int64_t>(unique.size()));
    spread<T, kMean>(c, s, place.data(), c.output(0, shape));
    Tensor& named = c.output(1, {static_cast<int64_t>(unique.size())});
    visit_index(named.dtype(), [&](auto tag) {
      using Index = typename decltype(tag)::type;
      std::transform(unique.begin(), unique.end(), named.data<Index>(), [](int64_t i) { return static_cast<Index>(i); });
    });
  };
}

#define RF_SEGMENT_KERNEL(OP, FN, MEAN)                                                             \
  static const Registration RF_CONCAT(registration_, __COUNTER__)(                                  \
      OP, "T", Sharing::None, {{DType::Float, &FN<float, MEAN>}, {DType::Double, &FN<double, MEAN>}});

RF_SEGMENT_KERNEL("SparseSegmentSum", reduce_segments, false)
RF_SEGMENT_KERNEL("SparseSegmentMean", reduce_segments, true)
RF_SEGMENT_KERNEL("SparseSegmentSumGrad", dense_gradient, false)
RF_SEGMENT_KERNEL("SparseSegmentMeanGrad", dense_gradient, true)
RF_SEGMENT_KERNEL("SparseSegmentSumGradV2", sparse_gradient, false)
RF_SEGMENT_KERNEL("SparseSegmentMeanGradV2", sparse_gradient, true)

}  // namespace
}  // namespace rf
