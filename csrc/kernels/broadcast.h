// NumPy broadcasting as a loop nest: adjacent dimensions that broadcast alike are merged, size-1 ones dropped.
//
// After merging, the innermost loop steps each operand by 1 or by 0, and two levels cover all but odd cases:
// same shapes and scalars (one level), a row (c,) or a column (n, 1) against a matrix (two).
#pragma once

#include "base/shape.h"

namespace rf {

struct Broadcast {
  static constexpr int kMaxOperands = 3;

  Shape shape;                              // of the result
  int rank = 0;                             // loops after merging; the last is the innermost
  int64_t size[Shape::kMaxRank];            // of each loop
  int64_t step[kMaxOperands][Shape::kMaxRank];  // elements an operand moves per iteration; 0 where it repeats
};

// InvalidArgument, naming the op and the shapes, where they do not broadcast.
Broadcast broadcast(const std::string& op, const Shape* const* operands, int count);
// The same with a given result shape, to which every operand must broadcast.
Broadcast broadcast_to(const std::string& op, const Shape& shape, const Shape* const* operands, int count);

// Calls body(offset of each operand, offset of the result) once for each inner 2-D slab of the nest. A slab has
// `rows` x `columns` iterations; see Slab.
struct Slab {
  int64_t rows = 1, columns = 1;
  int64_t row_step[Broadcast::kMaxOperands] = {}, column_step[Broadcast::kMaxOperands] = {};
};
Slab inner_slab(const Broadcast& b, int count);

template <class Body>
void for_each_slab(const Broadcast& b, int count, const Body& body) {
  int64_t offset[Broadcast::kMaxOperands] = {}, index[Shape::kMaxRank] = {}, out = 0;
  const int outer = b.rank > 2 ? b.rank - 2 : 0;
  const int64_t slab_size = (b.rank > 0 ? b.size[b.rank - 1] : 1) * (b.rank > 1 ? b.size[b.rank - 2] : 1);
  for (;;) {
    body(offset, out);
    out += slab_size;
    int axis = outer - 1;
    for (; axis >= 0; --axis) {
      for (int k = 0; k < count; ++k) offset[k] += b.step[k][axis];
      if (++index[axis] < b.size[axis]) break;
      for (int k = 0; k < count; ++k) offset[k] -= b.step[k][axis] * b.size[axis];
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

}  // namespace rf
