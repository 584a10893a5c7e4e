// What a `_FusedRows` node does in every run (fused_rows.cc), and what its inputs must be for it.
#pragma once

#include "kernels/row_input.h"

namespace rf {

enum class RowKind { Elementwise, Sum, Mean, Max, Softmax, ColumnSum };

inline RowKind row_kind(const std::string& name) {
  if (name == "Sum") return RowKind::Sum;
  if (name == "Mean") return RowKind::Mean;
  if (name == "Max") return RowKind::Max;
  if (name == "Softmax") return RowKind::Softmax;
  return name == "ColumnSum" ? RowKind::ColumnSum : RowKind::Elementwise;
}

template <class T>
struct RowOp {
  RowKind kind;
  TileOp<T> elementwise;
};

// What a node does in every run.
template <class T>
struct RowProgram {
  FusedRecipe recipe;
  std::vector<RowOp<T>> ops;
  int column_sums = 0;

  const RowOp<T>& op(const FusedOp& step) const { return ops[static_cast<size_t>(step.op)]; }
};

template <class T>
RowProgram<T> read_row_program(const Node& node) {
  RowProgram<T> p;
  p.recipe = read_fused_recipe(node);
  for (const FusedOp& s : p.recipe.steps) {
    const std::string& name = p.recipe.names[static_cast<size_t>(s.op)];
    const RowOp<T>& op = p.ops.emplace_back(RowOp<T>{row_kind(name), find_tile_op<T>(name)});
    check(op.kind != RowKind::Elementwise || op.elementwise != nullptr, "[_FusedRows] ", name, " cannot be fused");
    if (op.kind == RowKind::ColumnSum) ++p.column_sums;
    check(op.kind != RowKind::ColumnSum || s.output >= 0, "[_FusedRows] a ColumnSum must be an output");
    for (int arg : {s.a, s.b})
      check(arg < p.recipe.inputs || p.ops[static_cast<size_t>(arg - p.recipe.inputs)].kind != RowKind::ColumnSum,
            "[_FusedRows] ", name, " reads a ColumnSum, which is known at the end of the pass only");
  }
  return p;
}

// Which values are wide, and so the shapes of the outputs; bytes, not bits, for it is asked for every op of a tile.
// InvalidArgument where an op cannot take what it reads.
template <class T>
std::vector<char> wide_values(const RowProgram<T>& program, const std::vector<RowInput<T>>& inputs, int64_t rows) {
  const FusedRecipe& recipe = program.recipe;
  std::vector<char> wide;
  wide.reserve(inputs.size() + recipe.steps.size());
  for (const RowInput<T>& in : inputs) wide.push_back(in.wide);
  for (const FusedOp& s : recipe.steps) {
    const RowKind kind = program.op(s).kind;
    for (int arg : {s.a, s.b}) {
      const bool whole = arg >= recipe.inputs || inputs[static_cast<size_t>(arg)].rows.whole(rows);
      check(kind == RowKind::Elementwise || (wide[static_cast<size_t>(arg)] && whole), "[_FusedRows] ",
            recipe.names[static_cast<size_t>(s.op)], " reads operand ", arg, ", which is not of the result's shape");
    }
    wide.push_back(kind == RowKind::Elementwise ? wide[static_cast<size_t>(s.a)] || wide[static_cast<size_t>(s.b)]
                                                : kind == RowKind::Softmax);
  }
  return wide;
}

// Whether output 0 lies in input 0's memory where that would not do: an op reads the input after the output is written, or
// they are no images of each other.
template <class T>
bool overwrites(const FusedRecipe& recipe, const RowInput<T>& in, const T* out, bool wide, int64_t rows) {
  if (in.data != out) return false;
  if (in.wide != wide || !in.rows.whole(rows)) return true;
  bool written = false;
  for (const FusedOp& s : recipe.steps) {
    if (written && (s.a == 0 || s.b == 0)) return true;
    written = written || s.output == 0;
  }
  return false;
}

}  // namespace rf
