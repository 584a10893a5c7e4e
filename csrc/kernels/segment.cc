// UnsortedSegmentSum, Unique and _RepeatRows.
#include <algorithm>
#include <cstring>
#include <functional>
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

// A hash table from values to the order of their first appearance: open addressing, at most half full.
template <class T>
class FirstAppearances {
 public:
  explicit FirstAppearances(int64_t n) {
    while ((int64_t{1} << bits_) < 2 * n) ++bits_;
    slots_.assign(size_t{1} << bits_, -1);
  }
  // The number of `value`, which becomes `fresh` where it has none. `value_of(number)` gives the value of a number.
  template <class ValueOf>
  int64_t number(T value, int64_t fresh, const ValueOf& value_of) {
    const size_t mask = slots_.size() - 1;
    // Fibonacci hashing of std::hash, which is the identity for integers
    size_t at = static_cast<size_t>((std::hash<T>()(value) * uint64_t{0x9E3779B97F4A7C15}) >> (64 - bits_)) & mask;
    while (slots_[at] >= 0 && !(value_of(slots_[at]) == value)) at = (at + 1) & mask;
    if (slots_[at] < 0) slots_[at] = fresh;
    return slots_[at];
  }

 private:
  int bits_ = 1;
  std::vector<int64_t> slots_;
};

// y: the distinct elements in the order of their first appearance; idx: where each element of x is in y.
template <class T>
Kernel unique(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    check(x.shape().rank() == 1, "[Unique] x must be a vector: got shape ", x.shape());
    const int64_t n = x.num_elements();
    const T* in = x.data<T>();
    Tensor& positions = c.output(1, x.shape());
    FirstAppearances<T> seen(n);
    std::vector<T> distinct;
    distinct.reserve(static_cast<size_t>(n));
    visit_index(positions.dtype(), [&](auto tag) {
      using Index = typename decltype(tag)::type;
      Index* at = positions.data<Index>();
      for (int64_t i = 0; i < n; ++i) {
        const int64_t fresh = static_cast<int64_t>(distinct.size());
        const int64_t number = seen.number(in[i], fresh, [&](int64_t k) -> const T& { return distinct[static_cast<size_t>(k)]; });
        if (number == fresh) distinct.push_back(in[i]);
        at[i] = static_cast<Index>(number);
      }
    });
    Tensor& y = c.output(0, {static_cast<int64_t>(distinct.size())});
    std::copy(distinct.begin(), distinct.end(), y.data<T>());
  };
}

// Each row of the input `repeats` times, one after another.
Kernel repeat_rows(const Node& node) {
  const int64_t repeats = node.attr<int64_t>("repeats");
  return [repeats](Context& c) {
    const Tensor& x = c.input(0);
    check(x.shape().rank() >= 1 && repeats >= 0, "[_RepeatRows] rows must have a dimension and repeats be >= 0: got ",
          x.shape(), " and ", repeats);
    Shape shape = x.shape();
    shape.set(0, x.dim(0) * repeats);
    Tensor& y = c.output(0, shape);
    const size_t bytes = static_cast<size_t>(x.shape().product(1, x.shape().rank())) * size_of(x.dtype());
    const char* from = static_cast<const char*>(x.raw());
    char* to = static_cast<char*>(y.raw());
    for (int64_t i = 0; i < x.dim(0); ++i, from += bytes)
      for (int64_t k = 0; k < repeats; ++k, to += bytes) std::memcpy(to, from, bytes);
  };
}

RF_KERNEL_ANY("_RepeatRows", None, repeat_rows)
RF_KERNEL("UnsortedSegmentSum", unsorted_segment_sum, float, double, int32_t, int64_t)
RF_KERNEL("Unique", unique, float, double, int32_t, int64_t, std::string)

}  // namespace
}  // namespace rf
