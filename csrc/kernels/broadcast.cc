#include "kernels/broadcast.h"

#include <algorithm>

namespace rf {
namespace {

// Size of dimension `axis` of `s` as if it had `rank` dimensions.
int64_t aligned(const Shape& s, int axis, int rank) {
  const int i = axis - (rank - s.rank());
  return i < 0 ? 1 : s[i];
}

// The shapes of the operands in the text of an error, put together only where there is one.
struct List {
  const Shape* const* operands;
  int count;
};
std::ostream& operator<<(std::ostream& out, const List& l) {
  for (int k = 0; k < l.count; ++k) out << (k == 0 ? "" : k + 1 == l.count ? " and " : ", ") << *l.operands[k];
  return out;
}

}  // namespace

Broadcast broadcast_to(const std::string& op, const Shape& shape, const Shape* const* operands, int count) {
  Broadcast b;
  b.shape = shape;
  const int rank = shape.rank();
  for (int k = 0; k < count; ++k) {
    bool fits = operands[k]->rank() <= rank;
    for (int axis = 0; fits && axis < rank; ++axis) {
      const int64_t d = aligned(*operands[k], axis, rank);
      fits = d == shape[axis] || d == 1;
    }
    check(fits, "[", op, "] shapes must broadcast to ", shape, ": got ", List{operands, count},
          ". Fix: make each dimension equal to the result's or 1");
  }
  unsigned last_pattern = 0;
  int64_t contiguous[Broadcast::kMaxOperands];
  // from the innermost dimension out, so that an operand's stride is known when its dimension is met
  int64_t sizes[Shape::kMaxRank], steps[Broadcast::kMaxOperands][Shape::kMaxRank];
  int loops = 0;
  for (int k = 0; k < count; ++k) contiguous[k] = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    const int64_t n = shape[axis];
    if (n == 1) continue;
    unsigned pattern = 0;
    for (int k = 0; k < count; ++k)
      if (aligned(*operands[k], axis, rank) != 1) pattern |= 1u << k;
    if (loops > 0 && pattern == last_pattern) {
      sizes[loops - 1] *= n;
    } else {
      sizes[loops] = n;
      for (int k = 0; k < count; ++k) steps[k][loops] = pattern >> k & 1u ? contiguous[k] : 0;
      ++loops;
      last_pattern = pattern;
    }
    for (int k = 0; k < count; ++k)
      if (pattern >> k & 1u) contiguous[k] *= n;
  }
  b.rank = loops;
  for (int i = 0; i < loops; ++i) {
    b.size[i] = sizes[loops - 1 - i];
    for (int k = 0; k < count; ++k) b.step[k][i] = steps[k][loops - 1 - i];
  }
  return b;
}

Broadcast broadcast(const std::string& op, const Shape* const* operands, int count) {
  int rank = 0;
  for (int k = 0; k < count; ++k) rank = std::max(rank, operands[k]->rank());
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) {
    int64_t n = 1;
    for (int k = 0; k < count; ++k) {
      const int64_t d = aligned(*operands[k], axis, rank);
      check(d == n || d == 1 || n == 1, "[", op, "] shapes must broadcast: got ", List{operands, count},
            ", which differ in dimension ", axis, ". Fix: make the sizes equal or 1 there");
      if (d != 1) n = d;
    }
    shape.add(n);
  }
  return broadcast_to(op, shape, operands, count);
}

Slab inner_slab(const Broadcast& b, int count) {
  Slab slab;
  if (b.rank > 0) slab.columns = b.size[b.rank - 1];
  if (b.rank > 1) slab.rows = b.size[b.rank - 2];
  for (int k = 0; k < count; ++k) {
    slab.column_step[k] = b.rank > 0 ? b.step[k][b.rank - 1] : 1;
    slab.row_step[k] = b.rank > 1 ? b.step[k][b.rank - 2] : 0;
  }
  return slab;
}

}  // namespace rf
