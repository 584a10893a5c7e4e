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
#include "kernels/row_program.h"
#include "kernels/softmax.h"

namespace rf {
namespace {

constexpr int64_t kTile = 1024;  // elements, or one row

// An elementwise op over a tile of `rows`, from a and b to `out`.
template <class T>
void elementwise(TileOp<T> f, const RowValue<T>& a, const RowValue<T>& b, T* out, int64_t rows, int64_t width) {
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

// Along each row of a tile. `sums`: room for a number for each row.
template <class T>
void reduction(RowKind kind, const T* x, int64_t rows, int64_t n, T* y, T* sums) {
  vectorised([=] {
    switch (kind) {
      case RowKind::Softmax: return softmax_rows(x, rows, n, y, sums);
      case RowKind::Max: return reduce_each_row<MaxOf>(x, rows, n, y);
      default: return reduce_each_row<SumOf>(x, rows, n, y);
    }
  });
  const T count = static_cast<T>(n);
  if (kind == RowKind::Mean)
    for (int64_t r = 0; r < rows; ++r) y[r] /= count;
}

// One run of a node.
template <class T>
class Pass {
 public:
  // InvalidArgument where the inputs do not fit the ops.
  Pass(const RowProgram<T>& program, Context& c) : program_(program), recipe_(program.recipe) {
    const Shape shape = fused_shape(c, recipe_);
    check(shape.rank() > 0, "[_FusedRows] the inputs are scalars");
    width_ = shape[shape.rank() - 1];
    rows_ = shape.product(0, shape.rank() - 1);
    inputs_.reserve(static_cast<size_t>(c.num_inputs()));
    for (int i = 0; i < c.num_inputs(); ++i) inputs_.emplace_back(c.node(), c.input(i), shape);
    wide_ = wide_values(program, inputs_, rows_);
    make_outputs(c, shape);
    take_memory(c);
  }

  void run() {
    const int64_t grain = 1 + kParallelGrain / (stretch_ * std::max<int64_t>(1, width_)) / steps();
    parallel_for(stretches_, grain, [&](int64_t first, int64_t last, int part) {
      std::vector<RowValue<T>> values(inputs_.size() + program_.ops.size());
      for (int64_t k = first; k < last; ++k) run_stretch(k, memory_ + part * own_, values);
    });
    int column_sum = 0;
    for (const FusedOp& s : recipe_.steps)
      if (program_.op(s).kind == RowKind::ColumnSum) add_blocks(partial(column_sum++, 0), stretches_, width_, output(s));
  }

 private:
  int64_t steps() const { return static_cast<int64_t>(program_.ops.size()); }
  bool wide(const FusedOp& s) const { return wide_[static_cast<size_t>(recipe_.inputs + s.op)]; }
  T*& output(const FusedOp& s) { return outputs_[static_cast<size_t>(s.output)]; }
  T* partial(int column_sum, int64_t stretch) { return partial_ + (column_sum * stretches_ + stretch) * width_; }

  void make_outputs(Context& c, const Shape& shape) {
    outputs_.resize(static_cast<size_t>(recipe_.outputs));
    for (const FusedOp& s : recipe_.steps) {
      if (s.output < 0) continue;
      Shape own = shape;
      if (program_.op(s).kind == RowKind::ColumnSum)
        own = Shape{width_};
      else if (!wide(s))
        own.set(shape.rank() - 1, 1);
      output(s) = c.output(s.output, own).template data<T>();
      if (s.output == 0 && overwrites(recipe_, inputs_[0], output(s), wide(s), rows_)) {
        const size_t bytes = static_cast<size_t>(c.input(0).num_elements()) * sizeof(T);
        inputs_[0].data = static_cast<const T*>(std::memcpy(c.scratch(bytes), inputs_[0].data, bytes));
      }
    }
  }

  void take_memory(Context& c) {
    const int64_t width = std::max<int64_t>(1, width_);
    tile_ = std::max<int64_t>(1, kTile / width);
    room_ = tile_ * width;
    stretch_ = program_.column_sums > 0 ? kColumnBlock : tile_;
    stretches_ = (rows_ + stretch_ - 1) / stretch_;
    own_ = recipe_.buffers * room_ + tile_ + program_.column_sums * ColumnSum<T>::memory(width_);
    memory_ = static_cast<T*>(c.scratch(static_cast<size_t>(own_ * intra_op_threads()) * sizeof(T)));
    partial_ = static_cast<T*>(c.scratch(static_cast<size_t>(program_.column_sums * stretches_ * width_) * sizeof(T)));
  }

  // `memory`: the thread's own.
  void run_stretch(int64_t k, T* memory, std::vector<RowValue<T>>& values) {
    const int64_t start = k * stretch_, stop = std::min(start + stretch_, rows_);
    for (int64_t row = start, count; row < stop; row += count) {
      count = std::min(tile_, stop - row);
      for (size_t i = 0; i < inputs_.size(); ++i) {
        count = std::min(count, inputs_[i].together(row, rows_));
        values[i] = inputs_[i].tile(row);
      }
      run_tile({k, start, stop, row, count}, memory, values.data());
    }
  }

  struct Tile {
    int64_t stretch, start, stop;  // the stretch and its rows
    int64_t row, count;            // the tile's rows
  };

  void run_tile(const Tile& t, T* memory, RowValue<T>* values) {
    T* const sums = memory + recipe_.buffers * room_;
    int column_sum = 0;
    for (const FusedOp& s : recipe_.steps) {
      const RowOp<T>& op = program_.op(s);
      const RowValue<T>&a = values[s.a], &b = values[s.b];
      if (op.kind == RowKind::ColumnSum) {
        ColumnSum<T> sum(sums + tile_ + column_sum * ColumnSum<T>::memory(width_), width_, t.stop - t.start);
        sum.add(a.data, t.row - t.start, t.count);
        if (t.row + t.count == t.stop) sum.finish(partial(column_sum, t.stretch));
        ++column_sum;
        continue;
      }
      const int64_t step = wide(s) ? width_ : 1;
      T* out = s.output >= 0 ? output(s) + t.row * step : memory + s.scratch * room_;
      if (op.kind == RowKind::Elementwise)
        elementwise(op.elementwise, a, b, out, t.count, width_);
      else
        reduction(op.kind, a.data, t.count, width_, out, sums);
      values[recipe_.inputs + s.op] = {out, step, wide(s)};
    }
  }

  const RowProgram<T>& program_;
  const FusedRecipe& recipe_;
  int64_t width_, rows_;
  std::vector<RowInput<T>> inputs_;
  std::vector<char> wide_;  // of the inputs, then of the results of the ops
  std::vector<T*> outputs_;
  int64_t tile_;                // rows
  int64_t room_;                // of a tile buffer, in elements
  int64_t stretch_, stretches_; // rows that one thread takes one after another, and how many such there are
  int64_t own_;                 // elements of a thread: tile buffers, a sum for each row of a tile, column sums
  T *memory_, *partial_;        // of all threads; the column sums of each stretch
};

template <class T>
Kernel fused_rows(const Node& node) {
  return [program = read_row_program<T>(node)](Context& c) { Pass<T>(program, c).run(); };
}

RF_REGISTER("_FusedRows", "T", OverFirst, fused_rows, float, double);

}  // namespace
}  // namespace rf
