// `_FusedRows`: elementwise ops, reductions along rows and sums of columns in one pass over memory.
//
// The result of the pass is a matrix: its last dimension makes the columns (`width` of them), the others the rows. Tiles are
// whole rows; every op runs over the tile before the next tile begins, as in `_Fused` (fused.cc). A value has a number for
// each element of the tile (wide) or for each of its rows. Beside the elementwise ops there are, with the bits of their own
// kernels:
//
//     Sum, Mean, Max   of a row: a number for each row
//     Softmax          of a row
//     ColumnSum        over all rows of the pass: an output of shape (width,), which no op of the pass can read
//
// Output 0 may be written over input 0.
#include <algorithm>

#include "kernels/column_sum.h"
#include "kernels/fused_recipe.h"
#include "kernels/softmax.h"

namespace rf {
namespace {

constexpr int64_t kTile = 1024;  // elements, or one row

enum class Kind { Elementwise, Sum, Mean, Max, Softmax, ColumnSum };

Kind kind_of(const std::string& name) {
  if (name == "Sum") return Kind::Sum;
  if (name == "Mean") return Kind::Mean;
  if (name == "Max") return Kind::Max;
  if (name == "Softmax") return Kind::Softmax;
  return name == "ColumnSum" ? Kind::ColumnSum : Kind::Elementwise;
}

// A value in a tile: `step` elements from row to row, 0 where all rows have the same.
template <class T>
struct Value {
  const T* data;
  int64_t step;
  bool wide;
};

// An input: row i of the result reads row (i / block) % period of it.
template <class T>
struct Input {
  const T* data = nullptr;
  int64_t width = 1, block = 1, period = 1;
  bool wide = false;

  Input(const T* memory, const Shape& own, const Shape& result) : data(memory) {
    const int64_t columns = result[result.rank() - 1];
    width = own.rank() > 0 ? own[own.rank() - 1] : 1;
    wide = width == columns;
    int stage = 0;  // from the back: 0 repeated, 1 matching, 2 repeated
    for (int k = 2; k <= result.rank(); ++k) {
      const int64_t d = result[result.rank() - k], mine = k <= own.rank() ? own[own.rank() - k] : 1;
      if (d == 1) continue;
      if (mine == d) {
        check(stage < 2, "[_FusedRows] an input of shape ", own, " repeats in ", result, " in two places");
        stage = 1;
        period *= d;
      } else if (stage == 0) {
        block *= d;
      } else {
        stage = 2;
      }
    }
    if (period == 1) block = 1;
  }
  // Rows from `row` on that a tile can have: up to where the input begins again, or goes on to its next row.
  int64_t together(int64_t row, int64_t rows) const {
    if (period == 1 || (block == 1 && period == rows)) return rows;
    const int64_t seam = block > 1 ? block : period;
    return seam - row % seam;
  }
  Value<T> tile(int64_t row) const {
    return {data + row / block % period * width, block > 1 || period == 1 ? 0 : width, wide};
  }
};

template <class T>
struct Op {
  Kind kind;
  TileOp<T> elementwise;
};

// Where op `k` runs over a tile of `rows`, from a and b to `out`.
template <class T>
void elementwise(TileOp<T> f, const Value<T>& a, const Value<T>& b, T* out, int64_t rows, int64_t width) {
  const bool wide = a.wide || b.wide;
  const int64_t whole = wide ? width : 1;
  Slab slab;
  slab.rows = rows;
  slab.columns = whole;
  slab.row_step[0] = a.step;
  slab.row_step[1] = b.step;
  slab.column_step[0] = a.wide || !wide;
  slab.column_step[1] = b.wide || !wide;
  if (a.step == whole && b.step == whole && a.wide == b.wide) {  // both lie as the result does
    slab.columns *= rows;
    slab.rows = 1;
  }
  f(a.data, b.data, out, slab);
}

template <class T>
void reduction(Kind kind, const T* x, int64_t rows, int64_t n, T* y, T* sums) {
  vectorised([=] {
    switch (kind) {
      case Kind::Softmax: return softmax_rows(x, rows, n, y, sums);
      case Kind::Max: return reduce_each_row<MaxOf>(x, rows, n, y);
      default: return reduce_each_row<SumOf>(x, rows, n, y);
    }
  });
  const T count = static_cast<T>(n);
  if (kind == Kind::Mean)
    for (int64_t r = 0; r < rows; ++r) y[r] /= count;
}

// Which values are wide, and so the shapes of the outputs. InvalidArgument where an op cannot take what it reads.
template <class T>
std::vector<bool> wide_values(const FusedRecipe& recipe, const std::vector<Op<T>>& ops, const std::vector<Input<T>>& inputs,
                              int64_t rows) {
  std::vector<bool> wide;
  for (const Input<T>& in : inputs) wide.push_back(in.wide);
  for (const FusedOp& s : recipe.steps) {
    const Kind kind = ops[static_cast<size_t>(s.op)].kind;
    for (int arg : {s.a, s.b}) {
      const bool whole = arg >= recipe.inputs || (inputs[static_cast<size_t>(arg)].block == 1 &&
                                                  inputs[static_cast<size_t>(arg)].period == rows);
      check(kind == Kind::Elementwise || (wide[static_cast<size_t>(arg)] && whole), "[_FusedRows] ",
            recipe.names[static_cast<size_t>(s.op)], " reads operand ", arg, ", which is not of the result's shape");
    }
    wide.push_back(kind == Kind::Elementwise ? wide[static_cast<size_t>(s.a)] || wide[static_cast<size_t>(s.b)]
                                             : kind == Kind::Softmax);
  }
  return wide;
}

// Whether output 0 lies in input 0's memory where that would not do: an op reads the input after the output is written, or
// they are no images of each other.
template <class T>
bool overwrites(const FusedRecipe& recipe, const Input<T>& in, const T* out, bool wide, int64_t rows) {
  if (in.data != out) return false;
  if (in.wide != wide || in.block != 1 || in.period != rows) return true;
  bool written = false;
  for (const FusedOp& s : recipe.steps) {
    if (written && (s.a == 0 || s.b == 0)) return true;
    written = written || s.output == 0;
  }
  return false;
}

template <class T>
Kernel fused_rows(const Node& node) {
  const FusedRecipe recipe = read_fused_recipe(node);
  std::vector<Op<T>> ops;
  int column_sums = 0;
  for (const FusedOp& s : recipe.steps) {
    const std::string& name = recipe.names[static_cast<size_t>(s.op)];
    ops.push_back({kind_of(name), find_tile_op<T>(name)});
    check(ops.back().kind != Kind::Elementwise || ops.back().elementwise != nullptr, "[_FusedRows] ", name,
          " cannot be fused");
    if (ops.back().kind == Kind::ColumnSum) ++column_sums;
    check(ops.back().kind != Kind::ColumnSum || s.output >= 0, "[_FusedRows] a ColumnSum must be an output");
    for (int arg : {s.a, s.b})
      check(arg < recipe.inputs || ops[static_cast<size_t>(arg - recipe.inputs)].kind != Kind::ColumnSum, "[_FusedRows] ",
            name, " reads a ColumnSum, which is known at the end of the pass only");
  }
  return [recipe, ops, column_sums](Context& c) {
    check(c.num_inputs() == recipe.inputs && c.num_outputs() == recipe.outputs, "[_FusedRows] the node has ", c.num_inputs(),
          " inputs and ", c.num_outputs(), " outputs, its attrs say ", recipe.inputs, " and ", recipe.outputs);
    const Shape shape = fused_shape(c);
    check(shape.rank() > 0, "[_FusedRows] the inputs are scalars");
    const int64_t width = shape[shape.rank() - 1], rows = shape.product(0, shape.rank() - 1);
    std::vector<Input<T>> inputs;
    for (int i = 0; i < c.num_inputs(); ++i) inputs.emplace_back(c.input(i).data<T>(), c.input(i).shape(), shape);
    const std::vector<bool> wide = wide_values(recipe, ops, inputs, rows);

    std::vector<T*> outputs(static_cast<size_t>(recipe.outputs));
    for (const FusedOp& s : recipe.steps) {
      if (s.output < 0) continue;
      Shape own = shape;
      if (ops[static_cast<size_t>(s.op)].kind == Kind::ColumnSum)
        own = Shape{width};
      else if (!wide[static_cast<size_t>(recipe.inputs + s.op)])
        own.set(shape.rank() - 1, 1);
      outputs[static_cast<size_t>(s.output)] = c.output(s.output, own).template data<T>();
      if (s.output == 0 && overwrites(recipe, inputs[0], outputs[0], wide[static_cast<size_t>(recipe.inputs + s.op)], rows)) {
        const size_t bytes = static_cast<size_t>(c.input(0).num_elements()) * sizeof(T);
        inputs[0].data = static_cast<const T*>(std::memcpy(c.scratch(bytes), inputs[0].data, bytes));
      }
    }

    const int64_t tile = std::max<int64_t>(1, kTile / std::max<int64_t>(1, width));  // rows
    const int64_t room = tile * std::max<int64_t>(1, width);                       // of a tile buffer
    const int64_t stretch = column_sums > 0 ? kColumnBlock : tile;  // rows that one thread takes one after another
    const int64_t stretches = (rows + stretch - 1) / stretch;
    const int64_t own = recipe.buffers * room + tile + column_sums * ColumnSum<T>::memory(width);  // elements of a thread
    T* const memory = static_cast<T*>(c.scratch(static_cast<size_t>(own * intra_op_threads()) * sizeof(T)));
    T* const partial = static_cast<T*>(c.scratch(static_cast<size_t>(column_sums * stretches * width) * sizeof(T)));
    const int64_t grain = 1 + kParallelGrain / (stretch * std::max<int64_t>(1, width)) / static_cast<int64_t>(ops.size());
    parallel_for(stretches, grain, [&](int64_t first, int64_t last, int part) {
      T* const buffers = memory + part * own;
      T* const sums = buffers + recipe.buffers * room;
      std::vector<Value<T>> value(inputs.size() + ops.size());
      for (int64_t block = first; block < last; ++block) {
        const int64_t start = block * stretch, stop = std::min(start + stretch, rows);
        for (int64_t row = start, count; row < stop; row += count) {
          count = std::min(tile, stop - row);
          for (size_t i = 0; i < inputs.size(); ++i) {
            count = std::min(count, inputs[i].together(row, rows));
            value[i] = inputs[i].tile(row);
          }
          int column_sum = 0;
          for (const FusedOp& s : recipe.steps) {
            const size_t k = static_cast<size_t>(s.op), to = inputs.size() + k;
            const Value<T>&a = value[static_cast<size_t>(s.a)], &b = value[static_cast<size_t>(s.b)];
            if (ops[k].kind == Kind::ColumnSum) {
              ColumnSum<T> sum(sums + tile + column_sum * ColumnSum<T>::memory(width), width, stop - start);
              sum.add(a.data, row - start, count);
              if (row + count == stop) sum.finish(partial + (column_sum * stretches + block) * width);
              ++column_sum;
              continue;
            }
            const int64_t step = wide[to] ? width : 1;
            T* out = s.output >= 0 ? outputs[static_cast<size_t>(s.output)] + row * step : buffers + s.scratch * room;
            if (ops[k].kind == Kind::Elementwise)
              elementwise(ops[k].elementwise, a, b, out, count, width);
            else
              reduction(ops[k].kind, a.data, count, width, out, sums);
            value[to] = {out, step, wide[to]};
          }
        }
      }
    });
    int column_sum = 0;
    for (const FusedOp& s : recipe.steps)
      if (ops[static_cast<size_t>(s.op)].kind == Kind::ColumnSum)
        add_blocks(partial + column_sum++ * stretches * width, stretches, width, outputs[static_cast<size_t>(s.output)]);
  };
}

RF_REGISTER("_FusedRows", "T", OverFirst, fused_rows, float, double);

}  // namespace
}  // namespace rf
