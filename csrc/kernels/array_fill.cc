// Ops that make tensors: Fill, ZerosLike, OnesLike, Range, OneHot, MatrixBandPart, Where.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/axes.h"
#include "kernels/strided.h"

namespace rf {
namespace {

void fill_with(Tensor& y, const void* value) {
  const int64_t w = static_cast<int64_t>(size_of(y.dtype()));
  StridedCopy copy(static_cast<size_t>(w));
  copy.add(y.num_elements(), 0, w);
  copy.run(value, y.raw());
}

Kernel fill(const Node&) {
  return [](Context& c) {
    const std::vector<int64_t> dims = int_values(c.input(0));
    check(c.input(1).num_elements() == 1, "[Fill] value must be a scalar: got shape ", c.input(1).shape());
    fill_with(c.output(0, Shape(dims.begin(), dims.end())), c.input(1).raw());
  };
}

Kernel zeros_like(const Node&) {
  return [](Context& c) {
    Tensor& y = c.output(0, c.input(0).shape());
    std::memset(y.raw(), 0, y.bytes());
  };
}

Kernel ones_like(const Node&) {
  return [](Context& c) {
    Tensor& y = c.output(0, c.input(0).shape());
    visit(y.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T one = static_cast<T>(1.0f);
      fill_with(y, &one);
    });
  };
}

template <class T>
Kernel range(const Node&) {
  return [](Context& c) {
    for (int i = 0; i < 3; ++i)
      check(c.input(i).num_elements() == 1, "[Range] input ", i, " must be a scalar: got shape ", c.input(i).shape());
    const T start = *c.input(0).data<T>(), limit = *c.input(1).data<T>(), delta = *c.input(2).data<T>();
    check(delta != 0, "[Range] delta must not be 0");
    check(delta > 0 ? start <= limit : start >= limit, "[Range] start ", start, " must not lie beyond limit ", limit,
          " for delta ", delta);
    int64_t n;
    if constexpr (std::is_integral_v<T>) {
      const int64_t span = std::abs(static_cast<int64_t>(limit) - static_cast<int64_t>(start));
      const int64_t step = std::abs(static_cast<int64_t>(delta));
      n = (span + step - 1) / step;
    } else {
      n = static_cast<int64_t>(std::ceil(std::abs((limit - start) / delta)));
    }
    T* y = c.output(0, {n}).template data<T>();
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(start + static_cast<T>(i) * delta);
  };
}

// All off, then one element for each index in range: an index out of range leaves its vector off.
Kernel one_hot(const Node& node) {
  const int64_t axis_attr = node.attr<int64_t>("axis", -1);
  return [axis_attr](Context& c) {
    const Tensor &indices = c.input(0), &on = c.input(2), &off = c.input(3);
    const Shape& from = indices.shape();
    const int axis = axis_of(c, axis_attr, from.rank() + 1);
    const int64_t depth = int_scalar(c, 1);
    check(depth >= 0, "[OneHot] depth must be >= 0: got ", depth);
    Shape shape(from.begin(), from.begin() + axis);
    shape.add(depth);
    for (int i = axis; i < from.rank(); ++i) shape.add(from[i]);
    Tensor& y = c.output(0, shape);
    fill_with(y, off.raw());
    const int64_t outer = from.product(0, axis), inner = from.product(axis, from.rank());
    const size_t w = size_of(y.dtype());
    char* out = static_cast<char*>(y.raw());
    const void* value = on.raw();
    const auto place = [&](const auto* index) {
      for (int64_t i = 0; i < outer; ++i)
        for (int64_t j = 0; j < inner; ++j) {
          const int64_t k = static_cast<int64_t>(index[i * inner + j]);
          if (k >= 0 && k < depth) std::memcpy(out + static_cast<size_t>((i * depth + k) * inner + j) * w, value, w);
        }
    };
    if (indices.dtype() == DType::UInt8) return place(indices.data<uint8_t>());
    visit_index(indices.dtype(), [&](auto tag) { place(indices.data<typename decltype(tag)::type>()); });
  };
}

// Keeps the diagonals from num_lower below to num_upper above; negative keeps them all.
Kernel matrix_band_part(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank();
    check(rank >= 2, "[MatrixBandPart] input must have at least 2 dimensions: got shape ", x.shape());
    const int64_t rows = x.dim(rank - 2), columns = x.dim(rank - 1), batch = x.shape().product(0, rank - 2);
    const int64_t lower = int_scalar(c, 1), upper = int_scalar(c, 2);
    check(lower <= rows && upper <= columns, "[MatrixBandPart] num_lower and num_upper must not exceed the matrix's ",
          rows, " rows and ", columns, " columns: got ", lower, " and ", upper);
    Tensor& y = c.output(0, x.shape());
    const int64_t w = static_cast<int64_t>(size_of(x.dtype()));
    const char* in = static_cast<const char*>(x.raw());
    char* out = static_cast<char*>(y.raw());
    for (int64_t row = 0; row < batch * rows; ++row, in += columns * w, out += columns * w) {
      const int64_t r = row % rows;
      const int64_t first = lower < 0 ? 0 : std::min(columns, std::max<int64_t>(0, r - lower));
      const int64_t last = std::max(first, upper < 0 ? columns : std::min(columns, r + upper + 1));
      std::memset(out, 0, static_cast<size_t>(first * w));
      if (in != out) std::memcpy(out + first * w, in + first * w, static_cast<size_t>((last - first) * w));
      std::memset(out + last * w, 0, static_cast<size_t>((columns - last) * w));
    }
  };
}

// Coordinates of the elements that differ from 0, in row-major order.
Kernel where(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank();
    const int64_t n = x.num_elements();
    visit(x.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* in = x.data<T>();
      int64_t count = 0;
      for (int64_t i = 0; i < n; ++i) count += in[i] != T();
      int64_t* out = c.output(0, {count, rank}).template data<int64_t>();
      int64_t index[Shape::kMaxRank] = {};
      for (int64_t i = 0; i < n; ++i) {
        if (in[i] != T()) out = std::copy(index, index + rank, out);
        for (int axis = rank - 1; axis >= 0 && ++index[axis] == x.dim(axis); --axis) index[axis] = 0;
      }
    });
  };
}

RF_KERNEL_ANY("Fill", None, fill)
RF_KERNEL_ANY("ZerosLike", None, zeros_like)
RF_KERNEL_ANY("OnesLike", None, ones_like)
RF_KERNEL_BY("Range", "Tidx", range, float, double, int32_t, int64_t)
RF_KERNEL_ANY("OneHot", None, one_hot)
RF_KERNEL_ANY("MatrixBandPart", InPlace, matrix_band_part)
RF_KERNEL_ANY("Where", None, where)

}  // namespace
}  // namespace rf
