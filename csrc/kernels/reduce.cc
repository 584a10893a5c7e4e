// Sum, Mean, Prod, Max, Min, All, Any, L2Loss.
//
// The shape is merged into alternating kept and reduced groups of dimensions. A pass removes the innermost reduced
// group: reduced innermost is a reduction of rows, otherwise of columns. Reductions over leading or trailing
// dimensions are one pass; odd mixtures take a few, over ever smaller data. Max and Min of a NaN are NaN.
#include "kernels/reduce.h"

#include "kernels/axes.h"

namespace rf {
namespace {

// Booleans as bytes of 0 and 1, which the vector unit knows.
struct AllOf {
  template <class T>
  static T neutral() {
    return T(1);
  }
  uint8_t operator()(uint8_t a, uint8_t b) const { return a & b; }
};
struct AnyOf {
  template <class T>
  static T neutral() {
    return T(0);
  }
  uint8_t operator()(uint8_t a, uint8_t b) const { return a | b; }
};

// What is reduced: merged groups of the input's dimensions, innermost last, and the output's shape.
struct Reduction {
  Shape shape;
  int rank = 0;
  int64_t size[Shape::kMaxRank];
  bool reduced[Shape::kMaxRank];
  int64_t count = 1;  // input elements for each output element

  Reduction(const Context& c, const Shape& x, const Tensor& axes, bool keep_dims) {
    bool reduce[Shape::kMaxRank] = {};
    for_each_int(axes, [&](int64_t a) {
      const int axis = axis_of(c, a, x.rank());
      check(!reduce[axis], "[", c.node().op, "] axis ", axis, " is named twice. Fix: name each axis once");
      reduce[axis] = true;
    });
    for (int i = 0; i < x.rank(); ++i) {
      if (!reduce[i])
        shape.add(x[i]);
      else if (keep_dims)
        shape.add(1);
      if (reduce[i]) count *= x[i];
      if (x[i] == 1) continue;
      if (rank > 0 && reduced[rank - 1] == reduce[i]) {
        size[rank - 1] *= x[i];
      } else {
        size[rank] = x[i];
        reduced[rank++] = reduce[i];
      }
    }
  }
};

template <class Op, class T>
void reduce(Context& c, Reduction r, const T* x, T* y) {
  const int64_t outputs = r.shape.num_elements();
  if (outputs == 0) return;
  if (r.count == 0) return map_unary([](T) { return Op::template neutral<T>(); }, y, y, outputs);
  int passes = 0;
  for (int i = 0; i < r.rank; ++i) passes += r.reduced[i];
  if (passes == 0) {
    if (x != y) std::memcpy(y, x, static_cast<size_t>(outputs) * sizeof(T));
    return;
  }
  for (; passes > 0; --passes) {
    int axis = r.rank - 1;  // the group to reduce: the last or the one before it
    while (!r.reduced[axis]) --axis;
    int64_t outer = 1;
    for (int i = 0; i < axis; ++i) outer *= r.size[i];
    const int64_t n = r.size[axis], inner = axis + 1 < r.rank ? r.size[axis + 1] : 1;
    T* to = passes == 1 ? y : static_cast<T*>(c.scratch(static_cast<size_t>(outer * inner) * sizeof(T)));
    if (inner == 1)
      reduce_rows<Op>(x, outer, n, to);
    else
      for (int64_t o = 0; o < outer; ++o) reduce_columns<Op>(x + o * n * inner, n, inner, to + o * inner);
    // drop the group; the kept ones around it merge
    if (axis + 1 < r.rank && axis > 0) {
      r.size[axis - 1] *= inner;
    } else if (axis + 1 < r.rank) {
      r.size[0] = inner;
      r.reduced[0] = false;
    }
    r.rank = std::max(axis, 1);
    x = to;
  }
}

template <class Op>
struct Reduce {
  template <class T>
  static Kernel make(const Node& node) {
    const bool keep_dims = node.attr<bool>("keep_dims", false);
    return [keep_dims](Context& c) {
      const Tensor& x = c.input(0);
      const Reduction r(c, x.shape(), c.input(1), keep_dims);
      Tensor& y = c.output(0, r.shape);
      reduce<Op, T>(c, r, x.data<T>(), y.data<T>());
    };
  }
};

template <class T>
Kernel mean(const Node& node) {
  const bool keep_dims = node.attr<bool>("keep_dims", false);
  return [keep_dims](Context& c) {
    const Tensor& x = c.input(0);
    const Reduction r(c, x.shape(), c.input(1), keep_dims);
    Tensor& y = c.output(0, r.shape);
    check(std::is_floating_point_v<T> || r.count > 0, "[Mean] the mean of no integers is undefined: input is ", x.shape());
    T* out = y.data<T>();
    reduce<SumOf, T>(c, r, x.data<T>(), out);
    const T count = static_cast<T>(r.count);
    map_unary([count](T sum) { return static_cast<T>(sum / count); }, out, out, r.shape.num_elements());
  };
}

template <class T>
Kernel l2_loss(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    T* y = c.output(0, Shape()).template data<T>();
    const T* in = x.data<T>();
    const int64_t n = x.num_elements();
    vectorised([=] { *y = reduce_row<SumOf>(in, n, formula::Square()) / T(2); });
  };
}

RF_KERNEL("Sum", Reduce<SumOf>::make, float, double, int32_t, int64_t)
RF_KERNEL("Mean", mean, float, double, int32_t, int64_t)
RF_KERNEL("Prod", Reduce<ProductOf>::make, float, double, int32_t, int64_t)
RF_KERNEL("Max", Reduce<MaxOf>::make, float, double, int32_t, int64_t)
RF_KERNEL("Min", Reduce<MinOf>::make, float, double, int32_t, int64_t)
RF_KERNEL_ANY("All", None, Reduce<AllOf>::make<uint8_t>)
RF_KERNEL_ANY("Any", None, Reduce<AnyOf>::make<uint8_t>)
RF_KERNEL("L2Loss", l2_loss, float, double)

}  // namespace
}  // namespace rf
