// Axis arguments: negative ones count from the end.
#pragma once

#include "kernels/kernel.h"

namespace rf {

// `axis` of a tensor with `rank` dimensions, as a number in [0, rank).
inline int axis_of(const Context& c, int64_t axis, int rank) {
  check(axis >= -rank && axis < rank, "[", c.node().op, "] axis ", axis, " is out of range [", -rank, ", ", rank, ")");
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

// Calls body(value) for each value of an int32 or int64 tensor.
template <class F>
void for_each_int(const Tensor& tensor, const F& body) {
  visit_index(tensor.dtype(), [&](auto tag) {
    const auto* values = tensor.data<typename decltype(tag)::type>();
    for (int64_t i = 0, n = tensor.num_elements(); i < n; ++i) body(static_cast<int64_t>(values[i]));
  });
}

// A scalar int32 or int64 input.
inline int64_t int_scalar(const Context& c, int input) {
  const Tensor& t = c.input(input);
  check(t.num_elements() == 1, "[", c.node().op, "] input ", input, " must be a scalar: got shape ", t.shape());
  return t.dtype() == DType::Int32 ? *t.data<int32_t>() : int_values(t)[0];
}

}  // namespace rf
