// Comparisons, logic, and Select.
#include <algorithm>

#include "kernels/elementwise.h"

namespace rf {
namespace {

using namespace formula;

// Select copies bits, so one kernel for each element size serves every dtype. A and B: the steps of a and b, 0 or 1.
template <int A, int B, class U>
void select_row(const bool* condition, const U* a, const U* b, U* y, int64_t n) {
  const uint8_t* chosen = reinterpret_cast<const uint8_t*>(condition);  // bool as a condition does not vectorise
  parallel_for(n, kParallelGrain, [=](int64_t begin, int64_t end, int) {
    vectorised([=] {
      const U first_a = *a, first_b = *b;
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) {
        const U p = A ? a[i] : first_a, q = B ? b[i] : first_b;  // both are read, so that the choice needs no branch
        y[i] = chosen[i] != 0 ? p : q;
      }
    });
  });
}

template <class U>
void select_broadcast(const Broadcast& b, const bool* condition, const U* t, const U* e, U* y) {
  const Slab s = inner_slab(b, 3);
  for_each_slab(b, 3, [&](const int64_t* offset, int64_t out) {
    for (int64_t r = 0; r < s.rows; ++r) {
      const bool* c = condition + offset[0] + r * s.row_step[0];
      const U *p = t + offset[1] + r * s.row_step[1], *q = e + offset[2] + r * s.row_step[2];
      U* z = y + out + r * s.columns;
      const int64_t cs = s.column_step[0], ps = s.column_step[1], qs = s.column_step[2];
      if (cs == 0)  // one choice for the row
        for (int64_t i = 0; i < s.columns; ++i) z[i] = *c ? p[i * ps] : q[i * qs];
      else if (ps == 1)
        qs == 1 ? select_row<1, 1>(c, p, q, z, s.columns) : select_row<1, 0>(c, p, q, z, s.columns);
      else
        qs == 1 ? select_row<0, 1>(c, p, q, z, s.columns) : select_row<0, 0>(c, p, q, z, s.columns);
    }
  });
}

// Calls f(Type<U>{}) with an unsigned integer as wide as an element of `dtype`.
template <class F>
void visit_bits(DType dtype, F&& f) {
  switch (size_of(dtype)) {
    case 1: return f(Type<uint8_t>{});
    case 2: return f(Type<uint16_t>{});
    case 4: return f(Type<uint32_t>{});
    case 8: return f(Type<uint64_t>{});
    default: fail(Code::Unimplemented, "[Select] dtype ", name_of(dtype), " has no fixed size");
  }
}

// Elements as unsigned words of their size: selection only moves them.
template <class U>
const U* words(const Tensor& t) {
  return static_cast<const U*>(t.raw());
}
template <class U>
U* words(Tensor& t) {
  return static_cast<U*>(t.raw());
}

Kernel select_v2(const Node&) {
  return [](Context& c) {
    const Tensor &condition = c.input(0), &t = c.input(1), &e = c.input(2);
    visit_bits(t.dtype(), [&](auto tag) {
      using U = typename decltype(tag)::type;
      if (condition.shape() == t.shape() && t.shape() == e.shape()) {
        Tensor& y = c.output(0, t.shape());
        return select_row<1, 1>(condition.data<bool>(), words<U>(t), words<U>(e), words<U>(y), y.num_elements());
      }
      const Shape* shapes[] = {&condition.shape(), &t.shape(), &e.shape()};
      const Broadcast b = broadcast(c.node().op, shapes, 3);
      Tensor& y = c.output(0, b.shape);
      if (y.num_elements() > 0) select_broadcast(b, condition.data<bool>(), words<U>(t), words<U>(e), words<U>(y));
    });
  };
}

// Select's condition is a scalar, a vector over the first dimension, or of the operands' shape.
Kernel select(const Node&) {
  return [](Context& c) {
    const Tensor &condition = c.input(0), &t = c.input(1), &e = c.input(2);
    const Shape shape = t.shape();
    check(e.shape() == shape, "[Select] t and e must have the same shape: got ", shape, " and ", e.shape());
    const Shape& cs = condition.shape();
    const bool by_row = cs.rank() == 1 && shape.rank() >= 1 && cs[0] == shape[0] && cs != shape;
    check(cs == shape || cs.rank() == 0 || by_row, "[Select] condition must be a scalar, a vector of size ",
          shape.rank() ? shape[0] : 1, " or have the shape ", shape, " of t: got ", cs);
    Tensor& y = c.output(0, shape);
    if (y.num_elements() == 0) return;
    visit_bits(t.dtype(), [&](auto tag) {
      using U = typename decltype(tag)::type;
      if (cs == shape)
        return select_row<1, 1>(condition.data<bool>(), words<U>(t), words<U>(e), words<U>(y), y.num_elements());
      Shape column;  // (n, 1, ..., 1)
      for (int i = 0; by_row && i < shape.rank(); ++i) column.add(i == 0 ? cs[0] : 1);
      const Shape* shapes[] = {&column, &shape, &shape};
      select_broadcast(broadcast_to("Select", shape, shapes, 3), condition.data<bool>(), words<U>(t), words<U>(e),
                       words<U>(y));
    });
  };
}

// Equal and NotEqual answer for shapes that do not broadcast where incompatible_shape_error is false.
template <class F>
struct Equality {
  template <class T>
  static Kernel make(const Node& node) {
    const bool strict = node.attr<bool>("incompatible_shape_error", true);
    return [strict](Context& c) {
      const Tensor &x = c.input(0), &y = c.input(1);
      if (!strict) {
        const int rank = std::min(x.shape().rank(), y.shape().rank());
        for (int i = 1; i <= rank; ++i) {
          const int64_t a = x.shape()[x.shape().rank() - i], b = y.shape()[y.shape().rank() - i];
          if (a == b || a == 1 || b == 1) continue;
          *c.output(0, Shape()).template data<bool>() = F()(0, 1);
          return;
        }
      }
      broadcast_binary<bool, F, T>(c, F(), x, y);
    };
  }
};

RF_KERNEL("Less", Binary<Less>::make, float, double, int32_t, int64_t)
RF_KERNEL("LessEqual", Binary<LessEqual>::make, float, double, int32_t, int64_t)
RF_KERNEL("Greater", Binary<Greater>::make, float, double, int32_t, int64_t)
RF_KERNEL("GreaterEqual", Binary<GreaterEqual>::make, float, double, int32_t, int64_t)
RF_KERNEL("Equal", Equality<Equal>::make, float, double, int32_t, int64_t, uint8_t, int8_t, bool)
RF_KERNEL("NotEqual", Equality<NotEqual>::make, float, double, int32_t, int64_t, uint8_t, int8_t, bool)
RF_KERNEL("IsNan", Unary<IsNan>::make, float, double)
RF_KERNEL("IsInf", Unary<IsInf>::make, float, double)
RF_KERNEL("IsFinite", Unary<IsFinite>::make, float, double)

// These have no dtype attr: their type is bool.
RF_KERNEL_ANY("LogicalAnd", InPlace, Binary<LogicalAnd>::make<bool>)
RF_KERNEL_ANY("LogicalOr", InPlace, Binary<LogicalOr>::make<bool>)
RF_KERNEL_ANY("LogicalNot", InPlace, Unary<LogicalNot>::make<bool>)

RF_KERNEL_ANY("Select", InPlace, select)
RF_KERNEL_ANY("SelectV2", InPlace, select_v2)

}  // namespace
}  // namespace rf
