// BiasAdd and BiasAddGrad, channels last (NHWC) or second (NCHW).
#include "kernels/reduce.h"

namespace rf {
namespace {

bool channels_first(const Node& node) {
  const std::string format = node.attr<std::string>("data_format", "NHWC");
  check(format == "NHWC" || format == "NCHW", "[", node.op, "] data_format must be NHWC or NCHW: got '", format, "'");
  return format == "NCHW";
}

// The tensor as (outer, channels, inner).
struct Channels {
  int64_t outer, channels, inner;
  Channels(const Context& c, const Shape& s, bool first) {
    check(s.rank() >= 2, "[", c.node().op, "] the input must have at least 2 dimensions: got ", s);
    const int axis = first ? 1 : s.rank() - 1;
    outer = s.product(0, axis);
    channels = s[axis];
    inner = s.product(axis + 1, s.rank());
  }
};

template <class T>
Kernel bias_add(const Node& node) {
  const bool first = channels_first(node);
  return [first](Context& c) {
    const Tensor &x = c.input(0), &bias = c.input(1);
    const Channels d(c, x.shape(), first);
    check(bias.shape() == Shape{d.channels}, "[BiasAdd] bias must have the shape (", d.channels, ",), the channels of ",
          x.shape(), ": got ", bias.shape());
    Tensor& y = c.output(0, x.shape());
    if (x.num_elements() == 0) return;
    const T *in = x.data<T>(), *b = bias.data<T>();
    T* out = y.data<T>();
    Slab slab;
    if (d.inner == 1) {
      slab.rows = d.outer;
      slab.columns = d.channels;
      slab.row_step[0] = d.channels;
      slab.column_step[0] = slab.column_step[1] = 1;
      if (!map_short_rows(formula::Add(), in, b, out, slab)) map_binary(formula::Add(), in, b, out, slab);
      return;
    }
    slab.rows = d.channels;
    slab.columns = d.inner;
    slab.row_step[0] = d.inner;
    slab.row_step[1] = 1;
    slab.column_step[0] = 1;
    for (int64_t o = 0, step = d.channels * d.inner; o < d.outer; ++o)
      map_binary(formula::Add(), in + o * step, b, out + o * step, slab);
  };
}

template <class T>
Kernel bias_add_grad(const Node& node) {
  const bool first = channels_first(node);
  return [first](Context& c) {
    const Tensor& dy = c.input(0);
    const Channels d(c, dy.shape(), first);
    T* y = c.output(0, {d.channels}).template data<T>();
    const T* in = dy.data<T>();
    if (d.inner == 1) return reduce_columns<SumOf>(in, d.outer, d.channels, y);
    T* sums = static_cast<T*>(c.scratch(static_cast<size_t>(d.outer * d.channels) * sizeof(T)));
    reduce_rows<SumOf>(in, d.outer * d.channels, d.inner, sums);
    reduce_columns<SumOf>(sums, d.outer, d.channels, y);
  };
}

RF_KERNEL_IN_PLACE("BiasAdd", bias_add, float, double, int32_t, int64_t)
RF_KERNEL("BiasAddGrad", bias_add_grad, float, double)

}  // namespace
}  // namespace rf
