// Slice, StridedSlice and its gradient.
//
// The masks of StridedSlice are bit sets over the elements of begin, end and strides: begin, end (ignore that bound),
// ellipsis (one bit: as many full dimensions as are left), new_axis (insert a 1), shrink_axis (take one element, drop
// the dimension). Bounds are clamped; negative strides walk backwards.
#include <algorithm>
#include <cstring>

#include "kernels/axes.h"
#include "kernels/strided.h"

namespace rf {
namespace {

Kernel slice(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank();
    const std::vector<int64_t> begin = int_values(c.input(1)), size = int_values(c.input(2));
    check(static_cast<int>(begin.size()) == rank && static_cast<int>(size.size()) == rank,
          "[Slice] begin and size must have ", rank, " elements: got ", begin.size(), " and ", size.size());
    const Strides from(x.shape(), size_of(x.dtype()));
    Shape shape;
    int64_t offset = 0;
    for (int i = 0; i < rank; ++i) {
      const int64_t b = begin[static_cast<size_t>(i)], n = size[static_cast<size_t>(i)];
      const int64_t s = n == -1 ? x.dim(i) - b : n;
      check(b >= 0 && s >= 0 && b + s <= x.dim(i), "[Slice] begin + size must lie in dimension ", i, " of ", x.shape(),
            ": got begin ", b, ", size ", n);
      shape.add(s);
      offset += b * from[i];
    }
    Tensor& y = c.output(0, shape);
    const Strides to(shape, size_of(x.dtype()));
    StridedCopy copy(size_of(x.dtype()));
    for (int i = 0; i < rank; ++i) copy.add(shape[i], from[i], to[i]);
    if (y.num_elements() > 0) copy.run(static_cast<const char*>(x.raw()) + offset, y.raw());
  };
}

struct Masks {
  int64_t begin, end, ellipsis, new_axis, shrink_axis;

  explicit Masks(const Node& node)
      : begin(node.attr<int64_t>("begin_mask", 0)),
        end(node.attr<int64_t>("end_mask", 0)),
        ellipsis(node.attr<int64_t>("ellipsis_mask", 0)),
        new_axis(node.attr<int64_t>("new_axis_mask", 0)),
        shrink_axis(node.attr<int64_t>("shrink_axis_mask", 0)) {
    check((ellipsis & (ellipsis - 1)) == 0, "[", node.op, "] ellipsis_mask must have one bit at most: got ", ellipsis);
  }
};

// What a StridedSlice takes of an input: per input dimension, and the output's shape.
struct View {
  Shape shape;                                   // of the output
  int64_t begin[Shape::kMaxRank], step[Shape::kMaxRank], size[Shape::kMaxRank];  // per input dimension

  View(const Context& c, const Masks& m, const Shape& input, const std::vector<int64_t>& begins,
       const std::vector<int64_t>& ends, const std::vector<int64_t>& strides) {
    const std::string& op = c.node().op;
    check(begins.size() == ends.size() && begins.size() == strides.size(),
          "[", op, "] begin, end and strides must have equal length: got ", begins.size(), ", ", ends.size(), ", ",
          strides.size());
    const int n = static_cast<int>(begins.size());
    int consuming = 0;  // elements that stand for one input dimension each
    for (int i = 0; i < n; ++i) consuming += !bit(m.ellipsis, i) && !bit(m.new_axis, i);
    check(consuming <= input.rank(), "[", op, "] ", consuming, " dimensions are indexed, but the shape is ", input);
    int axis = 0;
    bool seen_ellipsis = false;
    for (int i = 0; i < n; ++i) {
      if (bit(m.ellipsis, i)) {
        seen_ellipsis = true;
        for (int k = input.rank() - consuming; k > 0; --k) take_all(input, axis++);
      } else if (bit(m.new_axis, i)) {
        shape.add(1);
      } else {
        const size_t s = static_cast<size_t>(i);
        take(op, m, i, input, axis++, begins[s], ends[s], strides[s]);
      }
    }
    if (!seen_ellipsis)
      while (axis < input.rank()) take_all(input, axis++);
  }

 private:
  static bool bit(int64_t mask, int i) { return mask >> i & 1; }

  void take_all(const Shape& input, int axis) {
    begin[axis] = 0;
    step[axis] = 1;
    size[axis] = input[axis];
    shape.add(input[axis]);
  }

  void take(const std::string& op, const Masks& m, int i, const Shape& input, int axis, int64_t b, int64_t e, int64_t s) {
    const int64_t n = input[axis];
    check(s != 0, "[", op, "] strides[", i, "] must not be 0");
    if (bit(m.shrink_axis, i)) {
      check(s > 0, "[", op, "] strides[", i, "] must be > 0 where shrink_axis_mask is set");
      const int64_t at = b < 0 ? b + n : b;
      check(at >= 0 && at < n, "[", op, "] index ", b, " of dimension ", axis, " is out of bounds: the shape is ", input);
      begin[axis] = at;
      step[axis] = size[axis] = 1;
      return;
    }
    const int64_t low = s > 0 ? 0 : -1, high = s > 0 ? n : n - 1;
    const auto clamp = [&](int64_t x) { return std::min(std::max(x < 0 ? x + n : x, low), high); };
    b = bit(m.begin, i) ? (s > 0 ? low : high) : clamp(b);
    e = bit(m.end, i) ? (s > 0 ? high : low) : clamp(e);
    begin[axis] = b;
    step[axis] = s;
    size[axis] = s > 0 ? (e > b ? (e - b + s - 1) / s : 0) : (e < b ? (b - e - s - 1) / -s : 0);
    shape.add(size[axis]);
  }
};

// Copies between the view in `whole` and the dense part; `scatter` from the part into the view.
void copy_view(const View& view, const Shape& input, size_t width, const void* whole, const void* part, bool scatter) {
  if (view.shape.num_elements() == 0) return;
  const Strides strides(input, width);
  Shape dense;
  for (int i = 0; i < input.rank(); ++i) dense.add(view.size[i]);
  const Strides part_strides(dense, width);
  StridedCopy copy(width);
  int64_t offset = 0;
  for (int i = 0; i < input.rank(); ++i) {
    const int64_t step = view.step[i] * strides[i];
    copy.add(view.size[i], scatter ? part_strides[i] : step, scatter ? step : part_strides[i]);
    offset += view.begin[i] * strides[i];
  }
  const char* start = static_cast<const char*>(whole) + offset;
  if (scatter)
    copy.run(part, const_cast<char*>(start));
  else
    copy.run(start, const_cast<void*>(part));
}

Kernel strided_slice(const Node& node) {
  const Masks masks(node);
  return [masks](Context& c) {
    const Tensor& x = c.input(0);
    const View view(c, masks, x.shape(), int_values(c.input(1)), int_values(c.input(2)), int_values(c.input(3)));
    Tensor& y = c.output(0, view.shape);
    copy_view(view, x.shape(), size_of(x.dtype()), x.raw(), y.raw(), false);
  };
}

Kernel strided_slice_grad(const Node& node) {
  const Masks masks(node);
  return [masks](Context& c) {
    const std::vector<int64_t> dims = int_values(c.input(0));
    const Shape shape(dims.begin(), dims.end());
    const View view(c, masks, shape, int_values(c.input(1)), int_values(c.input(2)), int_values(c.input(3)));
    const Tensor& dy = c.input(4);
    check(dy.shape() == view.shape, "[StridedSliceGrad] dy must have the shape of the slice, ", view.shape, ": got ",
          dy.shape());
    Tensor& dx = c.output(0, shape);
    if (dy.num_elements() != dx.num_elements()) std::memset(dx.raw(), 0, dx.bytes());
    copy_view(view, shape, size_of(dy.dtype()), dx.raw(), dy.raw(), true);
  };
}

RF_KERNEL_ANY("Slice", None, slice)
RF_KERNEL_ANY("StridedSlice", None, strided_slice)
RF_KERNEL_ANY("StridedSliceGrad", None, strided_slice_grad)

}  // namespace
}  // namespace rf
