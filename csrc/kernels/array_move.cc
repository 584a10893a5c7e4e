// Ops that copy blocks: Transpose, Concat, Split, Pack, Unpack, Tile, BroadcastTo, Pad. All are strided copies by
// element size, so one kernel serves every dtype.
#include <algorithm>
#include <cstring>
#include <string>

#include "kernels/axes.h"
#include "kernels/broadcast.h"
#include "kernels/strided.h"

namespace rf {
namespace {

int64_t width(const Tensor& t) { return static_cast<int64_t>(size_of(t.dtype())); }

char* at(Tensor& t, int64_t byte) { return static_cast<char*>(t.raw()) + byte; }
const char* at(const Tensor& t, int64_t byte) { return static_cast<const char*>(t.raw()) + byte; }

Kernel transpose(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank();
    const std::vector<int64_t> perm = int_values(c.input(1));
    check(static_cast<int>(perm.size()) == rank, "[Transpose] perm must have ", rank, " elements, got ", perm.size());
    Shape shape;
    int axes[Shape::kMaxRank];
    unsigned seen = 0;
    for (int i = 0; i < rank; ++i) {
      axes[i] = axis_of(c, perm[static_cast<size_t>(i)], rank);
      check(!(seen >> axes[i] & 1u), "[Transpose] perm names dimension ", axes[i], " twice");
      seen |= 1u << axes[i];
      shape.add(x.dim(axes[i]));
    }
    Tensor& y = c.output(0, shape);
    const Strides from(x.shape(), size_of(x.dtype())), to(shape, size_of(x.dtype()));
    StridedCopy copy(size_of(x.dtype()));
    for (int i = 0; i < rank; ++i) copy.add(shape[i], from[axes[i]], to[i]);
    copy.run(x.raw(), y.raw());
  };
}

// A tensor seen as (outer, inner) around an axis; `inner` includes the axis.
void copy_part(const void* from, int64_t from_inner, void* to, int64_t to_inner, int64_t outer, int64_t inner, int64_t w) {
  StridedCopy copy(static_cast<size_t>(w));
  copy.add(outer, from_inner * w, to_inner * w);
  copy.add(inner, w, w);
  copy.run(from, to);
}

Kernel concat(const Node&) {
  return [](Context& c) {
    const int n = c.num_inputs() - 1;
    Shape shape = c.input(0).shape();
    const int rank = shape.rank(), axis = axis_of(c, int_scalar(c, n), rank);
    int64_t total = 0;
    for (int k = 0; k < n; ++k) {
      const Shape& s = c.input(k).shape();
      bool fits = s.rank() == rank;
      for (int i = 0; fits && i < rank; ++i) fits = i == axis || s[i] == shape[i];
      check(fits, "[ConcatV2] shapes must agree but for dimension ", axis, ": input 0 is ", c.input(0).shape(), ", input ",
            k, " is ", s);
      total += s[axis];
    }
    shape.set(axis, total);
    Tensor& y = c.output(0, shape);
    const int64_t outer = shape.product(0, axis), tail = shape.product(axis + 1, rank), w = width(y);
    int64_t offset = 0;
    for (int k = 0; k < n; ++k) {
      const Tensor& x = c.input(k);
      const int64_t inner = x.dim(axis) * tail;
      if (x.dtype() == DType::String) {
        for (int64_t o = 0; o < outer; ++o)
          std::copy_n(x.data<std::string>() + o * inner, inner, y.data<std::string>() + o * total * tail + offset);
        offset += inner;
        continue;
      }
      copy_part(x.raw(), inner, at(y, offset * w), total * tail, outer, inner, w);
      offset += inner;
    }
  };
}

// Copies consecutive parts of `x` along `axis`, of sizes[k], to the outputs.
void split_into(Context& c, const Tensor& x, int axis, const std::vector<int64_t>& sizes) {
  Shape shape = x.shape();
  const int64_t outer = shape.product(0, axis), tail = shape.product(axis + 1, shape.rank()), w = width(x);
  int64_t offset = 0;
  for (size_t k = 0; k < sizes.size(); ++k) {
    shape.set(axis, sizes[k]);
    Tensor& y = c.output(static_cast<int>(k), shape);
    const int64_t inner = sizes[k] * tail;
    copy_part(at(x, offset * w), x.dim(axis) * tail, y.raw(), inner, outer, inner, w);
    offset += inner;
  }
}

Kernel split(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(1);
    const int axis = axis_of(c, int_scalar(c, 0), x.shape().rank()), n = c.num_outputs();
    check(n > 0 && x.dim(axis) % n == 0, "[Split] dimension ", axis, " of ", x.shape(), " must divide by num_split = ", n);
    split_into(c, x, axis, std::vector<int64_t>(static_cast<size_t>(n), x.dim(axis) / n));
  };
}

Kernel split_rows(const Node& node) {
  return [axis_attr = node.attr<int64_t>("axis")](Context& c) {
    const Tensor& x = c.input(0);
    const int axis = axis_of(c, axis_attr, x.rank()), n = c.num_outputs();
    check(n > 0 && x.dim(axis) % n == 0 && x.shape().product(0, axis) == 1, "[_SplitRows] dimension ", axis, " of ", x.shape(),
          " must divide by num_split = ", n, " and be the first that is not 1");
    Shape shape = x.shape();
    shape.set(axis, x.dim(axis) / n);
    for (int k = 0; k < n; ++k) c.set_output(k, x.part(k * shape.num_elements(), shape));
  };
}

Kernel join_rows(const Node& node) {
  return [axis_attr = node.attr<int64_t>("axis")](Context& c) {
    const int n = c.num_inputs();
    Shape shape = c.input(0).shape();
    const int axis = axis_of(c, axis_attr, shape.rank());
    int64_t rows = 0;
    for (int k = 0; k < n; ++k) {
      Shape rest = c.input(k).shape();
      check(rest.rank() == shape.rank(), "[_JoinRows] all values must have one rank: got ", rest, " and ", shape);
      rows += rest[axis];
      rest.set(axis, shape[axis]);
      check(rest == shape && shape.product(0, axis) == 1, "[_JoinRows] shapes must agree but for dimension ", axis,
            ", and begin with 1s: input 0 is ", shape, ", input ", k, " is ", c.input(k).shape());
    }
    shape.set(axis, rows);
    Tensor& y = c.output(0, shape);
    size_t offset = 0;
    for (int k = 0; k < n; ++k) {
      const Tensor& x = c.input(k);
      char* const to = at(y, static_cast<int64_t>(offset));
      if (x.raw() != to && x.bytes() != 0) std::memcpy(to, x.raw(), x.bytes());  // else it was written there
      offset += x.bytes();
    }
  };
}

Kernel split_v(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    std::vector<int64_t> sizes = int_values(c.input(1));
    const int axis = axis_of(c, int_scalar(c, 2), x.shape().rank());
    check(static_cast<int>(sizes.size()) == c.num_outputs(), "[SplitV] size_splits must have ", c.num_outputs(),
          " elements, got ", sizes.size());
    int64_t known = 0, *unknown = nullptr;
    for (int64_t& s : sizes) {
      check((s >= 0 && s <= x.dim(axis)) || (s == -1 && !unknown), "[SplitV] sizes must lie in [0, ", x.dim(axis),
            "], and one at most be -1: got ", s);
      if (s < 0)
        unknown = &s;
      else
        known += s;
    }
    if (unknown) *unknown = x.dim(axis) - known;
    check(unknown ? *unknown >= 0 : known == x.dim(axis), "[SplitV] sizes must sum to ", x.dim(axis), ", dimension ",
          axis, " of ", x.shape(), ": got ", known);
    split_into(c, x, axis, sizes);
  };
}

Kernel pack(const Node& node) {
  const int64_t axis_attr = node.attr<int64_t>("axis", 0);
  return [axis_attr](Context& c) {
    const int n = c.num_inputs();
    const Shape part = c.input(0).shape();
    const int axis = axis_of(c, axis_attr, part.rank() + 1);
    Shape shape(part.begin(), part.begin() + axis);
    shape.add(n);
    for (int i = axis; i < part.rank(); ++i) shape.add(part[i]);
    Tensor& y = c.output(0, shape);
    const int64_t outer = part.product(0, axis), inner = part.product(axis, part.rank()), w = width(y);
    for (int k = 0; k < n; ++k) {
      const Tensor& x = c.input(k);
      check(x.shape() == part, "[Pack] shapes must agree: input 0 is ", part, ", input ", k, " is ", x.shape());
      copy_part(x.raw(), inner, at(y, k * inner * w), n * inner, outer, inner, w);
    }
  };
}

Kernel unpack(const Node& node) {
  const int64_t axis_attr = node.attr<int64_t>("axis", 0);
  return [axis_attr](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank(), axis = axis_of(c, axis_attr, rank), n = c.num_outputs();
    check(x.dim(axis) == n, "[Unpack] dimension ", axis, " of ", x.shape(), " must be num = ", n);
    Shape part(x.shape().begin(), x.shape().begin() + axis);
    for (int i = axis + 1; i < rank; ++i) part.add(x.dim(i));
    const int64_t outer = part.product(0, axis), inner = part.product(axis, part.rank()), w = width(x);
    for (int k = 0; k < n; ++k)
      copy_part(at(x, k * inner * w), n * inner, c.output(k, part).raw(), inner, outer, inner, w);
  };
}

Kernel tile(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank();
    const std::vector<int64_t> multiples = int_values(c.input(1));
    check(static_cast<int>(multiples.size()) == rank, "[Tile] multiples must have ", rank, " elements, got ",
          multiples.size());
    Shape shape;
    for (int i = 0; i < rank; ++i) shape.add(x.dim(i) * multiples[static_cast<size_t>(i)]);
    Tensor& y = c.output(0, shape);
    const Strides from(x.shape(), size_of(x.dtype())), to(shape, size_of(x.dtype()));
    StridedCopy copy(size_of(x.dtype()));
    for (int i = 0; i < rank; ++i) {
      copy.add(multiples[static_cast<size_t>(i)], 0, to[i] * x.dim(i));
      copy.add(x.dim(i), from[i], to[i]);
    }
    copy.run(x.raw(), y.raw());
  };
}

Kernel broadcast_to_kernel(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const std::vector<int64_t> dims = int_values(c.input(1));
    const Shape* from[] = {&x.shape()};
    const Broadcast b = broadcast_to("BroadcastTo", Shape(dims.begin(), dims.end()), from, 1);
    Tensor& y = c.output(0, b.shape);
    StridedCopy copy(size_of(x.dtype()));
    int64_t to = static_cast<int64_t>(y.bytes());
    for (int i = 0; i < b.rank && to > 0; ++i) {
      to /= b.size[i];
      copy.add(b.size[i], b.step[0][i] * width(x), to);
    }
    if (to > 0) copy.run(x.raw(), y.raw());
  };
}

Kernel pad(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.shape().rank();
    const std::vector<int64_t> paddings = int_values(c.input(1));
    check(c.input(1).shape() == Shape({rank, 2}), "[", c.node().op, "] paddings must have the shape (", rank,
          ", 2): got ", c.input(1).shape());
    Shape shape;
    for (int i = 0; i < rank; ++i) {
      const int64_t before = paddings[static_cast<size_t>(2 * i)], after = paddings[static_cast<size_t>(2 * i + 1)];
      check(before >= 0 && after >= 0, "[", c.node().op, "] paddings must be >= 0: got (", before, ", ", after, ")");
      shape.add(before + x.dim(i) + after);
    }
    Tensor& y = c.output(0, shape);
    const size_t w = size_of(x.dtype());
    if (c.num_inputs() < 3) {
      std::memset(y.raw(), 0, y.bytes());
    } else {
      StridedCopy fill(w);
      fill.add(y.num_elements(), 0, static_cast<int64_t>(w));
      fill.run(c.input(2).raw(), y.raw());
    }
    const Strides from(x.shape(), w), to(shape, w);
    StridedCopy copy(w);
    int64_t offset = 0;
    for (int i = 0; i < rank; ++i) {
      copy.add(x.dim(i), from[i], to[i]);
      offset += paddings[static_cast<size_t>(2 * i)] * to[i];
    }
    copy.run(x.raw(), at(y, offset));
  };
}

RF_KERNEL_ANY("Transpose", None, transpose)
RF_KERNEL_ANY("ConcatV2", None, concat)
RF_KERNEL_ANY("Split", None, split)
RF_KERNEL_ANY("_SplitRows", Parts, split_rows)
RF_KERNEL_ANY("_JoinRows", Joins, join_rows)
RF_KERNEL_ANY("SplitV", None, split_v)
RF_KERNEL_ANY("Pack", None, pack)
RF_KERNEL_ANY("Unpack", None, unpack)
RF_KERNEL_ANY("Tile", None, tile)
RF_KERNEL_ANY("BroadcastTo", None, broadcast_to_kernel)
RF_KERNEL_ANY("Pad", None, pad)
RF_KERNEL_ANY("PadV2", None, pad)

}  // namespace
}  // namespace rf
