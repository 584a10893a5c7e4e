// Ops on shapes, and those that only relabel their input's memory.
#include <algorithm>
#include <cstring>

#include "kernels/axes.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

void write_ints(Tensor& out, const int64_t* values, int64_t n) {
  visit_index(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* data = out.data<T>();
    for (int64_t i = 0; i < n; ++i) {
      check(static_cast<int64_t>(static_cast<T>(values[i])) == values[i], "[Shape] ", values[i],
            " does not fit into ", name_of(out.dtype()), ". Fix: set out_type to int64");
      data[i] = static_cast<T>(values[i]);
    }
  });
}

Kernel shape(const Node&) {
  return [](Context& c) {
    for (int i = 0; i < c.num_inputs(); ++i) {
      const Shape& s = c.input(i).shape();
      write_ints(c.output(i, {s.rank()}), s.begin(), s.rank());
    }
  };
}

Kernel size(const Node&) {
  return [](Context& c) {
    const int64_t n = c.input(0).num_elements();
    write_ints(c.output(0, {}), &n, 1);
  };
}

Kernel rank(const Node&) {
  return [](Context& c) {
    const int64_t n = c.input(0).shape().rank();
    write_ints(c.output(0, {}), &n, 1);
  };
}

Kernel identity(const Node& node) {
  const DType dtype = node.attr<DType>("T", DType::Invalid);
  if (dtype == DType::Resource || dtype == DType::Variant) return [](Context& c) { c.pass_handle(0, 0); };
  return [](Context& c) { c.set_output(0, c.input(0)); };
}

Kernel snapshot(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    Tensor& y = c.output(0, x.shape());
    if (y.raw() != x.raw()) std::memcpy(y.raw(), x.raw(), x.bytes());
  };
}

Kernel no_op(const Node&) {
  return [](Context&) {};
}

Kernel reshape(const Node&) {
  return [](Context& c) {
    const Tensor &x = c.input(0), &to = c.input(1);
    check(to.shape().rank() == 1, "[Reshape] shape must be a vector: got shape ", to.shape());
    Shape shape;
    int unknown = -1;
    int64_t known = 1;
    bool has_zero = false;
    for (int64_t d : int_values(to)) {
      if (d == -1) {
        check(unknown < 0, "[Reshape] at most one dimension may be -1");
        unknown = shape.rank();
        shape.add(1);
      } else {
        shape.add(d);
        has_zero |= d == 0;
        if (d != 0) known *= d;
      }
    }
    const int64_t n = x.num_elements();
    if (unknown >= 0) {
      int64_t elements = 1;  // zeros, where `to` holds one, are left out on both sides: (2, 0) as [-1, 0] is (2, 0)
      for (int i = 0; i < x.shape().rank(); ++i)
        if (x.dim(i) != 0 || !has_zero) elements *= x.dim(i);
      check(known > 0 && n % known == 0, "[Reshape] ", n, " elements of shape ", x.shape(),
            " must divide by the known dimensions, which multiply to ", known);
      shape.set(unknown, elements / known);
    }
    check(shape.num_elements() == n, "[Reshape] the number of elements must stay: ", x.shape(), " has ", n, ", ", shape,
          " has ", shape.num_elements());
    c.set_output(0, x.reshaped(shape));
  };
}

Kernel expand_dims(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    const int axis = axis_of(c, int_scalar(c, 1), x.shape().rank() + 1);
    Shape shape;
    for (int i = 0; i <= x.shape().rank(); ++i) {
      if (i == axis) shape.add(1);
      if (i < x.shape().rank()) shape.add(x.dim(i));
    }
    c.set_output(0, x.reshaped(shape));
  };
}

Kernel squeeze(const Node& node) {
  const std::vector<int64_t> dims = node.list<int64_t>("squeeze_dims");
  return [dims](Context& c) {
    const Tensor& x = c.input(0);
    bool drop[Shape::kMaxRank] = {};
    for (int64_t d : dims) {
      const int axis = axis_of(c, d, x.shape().rank());
      check(x.dim(axis) == 1, "[Squeeze] dimension ", d, " must have size 1: shape is ", x.shape());
      drop[axis] = true;
    }
    Shape shape;
    for (int i = 0; i < x.shape().rank(); ++i)
      if (dims.empty() ? x.dim(i) != 1 : !drop[i]) shape.add(x.dim(i));
    c.set_output(0, x.reshaped(shape));
  };
}

template <class T>
Kernel invert_permutation(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    check(x.shape().rank() == 1, "[InvertPermutation] x must be a vector: got shape ", x.shape());
    const int64_t n = x.num_elements();
    const T* p = x.data<T>();
    T* y = c.output(0, x.shape()).template data<T>();
    for (int64_t i = 0; i < n; ++i) y[i] = -1;
    for (int64_t i = 0; i < n; ++i) {
      check(p[i] >= 0 && p[i] < n, "[InvertPermutation] element ", p[i], " is out of range [0, ", n, ")");
      check(y[p[i]] == -1, "[InvertPermutation] element ", p[i], " occurs twice");
      y[p[i]] = static_cast<T>(i);
    }
  };
}

// Offsets of each input in the concatenation: zero but for the concatenated dimension.
Kernel concat_offset(const Node&) {
  return [](Context& c) {
    const int n = c.num_inputs() - 1;
    const std::vector<int64_t> first = int_values(c.input(1));
    const int axis = axis_of(c, int_scalar(c, 0), static_cast<int>(first.size()));
    int64_t offset = 0;
    for (int k = 0; k < n; ++k) {
      const std::vector<int64_t> shape = int_values(c.input(k + 1));
      check(shape.size() == first.size(), "[ConcatOffset] input ", k, " must have ", first.size(), " dimensions, got ",
            shape.size());
      std::vector<int64_t> at(shape.size(), 0);
      for (size_t i = 0; i < shape.size(); ++i)
        check(static_cast<int>(i) == axis || shape[i] == first[i], "[ConcatOffset] dimension ", i, " of input ", k,
              " must be ", first[i], ", got ", shape[i]);
      at[static_cast<size_t>(axis)] = offset;
      offset += shape[static_cast<size_t>(axis)];
      write_ints(c.output(k, {static_cast<int64_t>(at.size())}), at.data(), static_cast<int64_t>(at.size()));
    }
  };
}

// The axes over which to sum a gradient of the broadcast shape to come back to each operand's shape.
Kernel broadcast_gradient_args(const Node&) {
  return [](Context& c) {
    const std::vector<int64_t> s[2] = {int_values(c.input(0)), int_values(c.input(1))};
    const size_t rank = std::max(s[0].size(), s[1].size());
    std::vector<int64_t> reduce[2];
    for (size_t i = 0; s[0] != s[1] && i < rank; ++i) {
      int64_t d[2];
      for (int k = 0; k < 2; ++k) d[k] = i + s[k].size() < rank ? 1 : s[k][i + s[k].size() - rank];
      check(d[0] == d[1] || d[0] == 1 || d[1] == 1, "[BroadcastGradientArgs] shapes must broadcast: dimension ", i,
            " is ", d[0], " and ", d[1]);
      for (int k = 0; k < 2; ++k)
        if (d[k] == 1) reduce[k].push_back(static_cast<int64_t>(i));
    }
    for (int k = 0; k < 2; ++k) {
      const int64_t n = static_cast<int64_t>(reduce[k].size());
      write_ints(c.output(k, {n}), reduce[k].data(), n);
    }
  };
}

RF_KERNEL_ANY("Shape", None, shape)
RF_KERNEL_ANY("VariableShape", None, shape)
RF_KERNEL_ANY("ShapeN", None, shape)
RF_KERNEL_ANY("Size", None, size)
RF_KERNEL_ANY("Rank", None, rank)
RF_KERNEL_ANY("Identity", Alias, identity)
RF_KERNEL_ANY("StopGradient", Alias, identity)
RF_KERNEL_ANY("PlaceholderWithDefault", Alias, identity)
RF_KERNEL_ANY("PreventGradient", Alias, identity)
RF_KERNEL_ANY("Reshape", Alias, reshape)
RF_KERNEL_ANY("ExpandDims", Alias, expand_dims)
RF_KERNEL_ANY("Squeeze", Alias, squeeze)
RF_KERNEL_ANY("Snapshot", InPlace, snapshot)
RF_KERNEL_ANY("NoOp", None, no_op)
RF_KERNEL("InvertPermutation", invert_permutation, int32_t, int64_t)
RF_KERNEL_ANY("ConcatOffset", None, concat_offset)
RF_KERNEL_ANY("BroadcastGradientArgs", None, broadcast_gradient_args)

}  // namespace
}  // namespace rf
