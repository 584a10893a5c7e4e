// What the ops of a `_FusedRows` node read: values in a tile, and tiles of the inputs.
#pragma once

#include "kernels/fused_recipe.h"

namespace rf {

// A value in a tile: `step` elements from row to row, 0 where all rows have the same.
template <class T>
struct RowValue {
  const T* data;
  int64_t step;
  bool wide;
};

// An input, whose rows repeat over those of the result.
template <class T>
struct RowInput {
  const T* data;
  Repeat rows;
  int64_t width;
  bool wide;

  RowInput(const Node& node, const Tensor& input, const Shape& result)
      : data(input.data<T>()),
        rows(repeat_of(node, input.shape(), result, 1)),
        width(input.rank() > 0 ? input.dim(input.rank() - 1) : 1),
        wide(width == result[result.rank() - 1]) {}

  // Rows from `row` on that a tile can have: up to where the input begins again, or goes on to its next row.
  int64_t together(int64_t row, int64_t count) const {
    if (rows.period == 1 || rows.whole(count)) return count;
    const int64_t seam = rows.block > 1 ? rows.block : rows.period;
    return seam - row % seam;
  }
  RowValue<T> tile(int64_t row) const {
    return {data + row / rows.block % rows.period * width, rows.block > 1 || rows.period == 1 ? 0 : width, wide};
  }
};

}  // namespace rf
