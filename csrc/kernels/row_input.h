// What the ops of a `_FusedRows` node read: values in a tile, and tiles of the inputs.
#pragma once

#include "base/shape.h"

namespace rf {

// A value in a tile: `step` elements from row to row, 0 where all rows have the same.
template <class T>
struct RowValue {
  const T* data;
  int64_t step;
  bool wide;
};

// An input: row i of the result reads row (i / block) % period of it.
template <class T>
struct RowInput {
  const T* data = nullptr;
  int64_t width = 1, block = 1, period = 1;
  bool wide = false;

  RowInput(const T* memory, const Shape& own, const Shape& result) : data(memory) {
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
  RowValue<T> tile(int64_t row) const {
    return {data + row / block % period * width, block > 1 || period == 1 ? 0 : width, wide};
  }
};

}  // namespace rf
