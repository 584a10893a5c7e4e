// Axis arguments: negative ones count from the end.
#pragma once

#include "kernels/kernel.h"

namespace rf {

// `axis` of a tensor with `rank` dimensions, as a number in [0, rank).
inline int axis_of(const Context& c, int64_t axis, int rank) {
  check(axis >= -rank && axis < rank, "[", c.node().op, "] axis ", axis, " is out of range [", -rank, ", ", rank, ")");
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

// A scalar int32 or int64 input.
inline int64_t int_scalar(const Context& c, int input) {
  const Tensor& t = c.input(input);
  check(t.num_elements() == 1, "[", c.node().op, "] input ", input, " must be a scalar: got shape ", t.shape());
  return t.dtype() == DType::Int32 ? *t.data<int32_t>() : int_values(t)[0];
}

}  // namespace rf
