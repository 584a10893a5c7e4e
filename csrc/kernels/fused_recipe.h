// What a node of fused ops does, from its attrs: `ops` (names), `args` (two operands for each op, the second one repeated
// for unary ops), `results` (ops whose results are the outputs). Operands are numbers: 0 .. N-1 the inputs, N + k the
// result of op k.
#pragma once

#include "kernels/broadcast.h"
#include "kernels/kernel.h"

namespace rf {

struct FusedOp {
  int op, a, b;
  int output;   // of the node, or -1
  int scratch;  // which tile buffer holds the result where it is no output
};

struct FusedRecipe {
  std::vector<std::string> names;
  std::vector<FusedOp> steps;
  int inputs = 0, outputs = 0;
  int buffers = 0;  // for results that are no outputs
};

// Checks the attrs, and gives results buffers that are free again after their last reader.
FusedRecipe read_fused_recipe(const Node& node);

// The shape to which all inputs broadcast. InvalidArgument, naming the op and an input, where there is none, or where the
// node has other numbers of inputs and outputs than its attrs say.
Shape fused_shape(Context& c, const FusedRecipe& recipe);

// How an operand repeats over the result: element i of the result reads element (i / block) % period.
struct Repeat {
  int64_t block = 1, period = 1;

  bool whole(int64_t elements) const { return block == 1 && period == elements; }
};

// Of all dimensions but the last `but`. InvalidArgument where the operand does not repeat in one stretch of them.
Repeat repeat_of(const Node& node, const Shape& operand, const Shape& result, int but = 0);

// An elementwise op on a tile: out[r][i] = f(a[r][i], b[r][i]), the operands repeated as the slab says. Each is the formula
// of the op's own kernel, compiled apart: the results have the same bits as without fusion.
template <class T>
using TileOp = void (*)(const T* a, const T* b, T* out, const Slab& slab);

// The names are those of FUSIBLE in graph/ops/fused.py; null for any other. T: float, double.
template <class T>
TileOp<T> find_tile_op(const std::string& name);

}  // namespace rf
