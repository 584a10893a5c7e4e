// Loops that reduce rows and columns of a matrix.
//
// Float sums use many accumulators and two levels of blocks, so the rounding error grows with about n / 8192 and not
// with n, and the order of additions depends on the shape alone: equal inputs give equal bits.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/elementwise.h"

namespace rf {

// A combiner has the neutral element and a binary function; it may use any order of operands.
struct SumOf : formula::Add {
  template <class T>
  static T neutral() {
    return T(0);
  }
};
struct ProductOf : formula::Mul {
  template <class T>
  static T neutral() {
    return T(1);
  }
};
struct MaxOf : formula::Maximum {
  template <class T>
  static T neutral() {
    return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
  }
};
struct MinOf : formula::Minimum {
  template <class T>
  static T neutral() {
    return std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  }
};

struct Same {
  template <class T>
  T operator()(T x) const {
    return x;
  }
};

// The lanes [0, kLanes) of `acc` combined in pairs.
template <class Op, int kLanes, class T>
inline T fold(T* acc) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) acc[j] = Op()(acc[j], acc[j + width]);
  return acc[0];
}

// Combines map(x[i]) over whole groups of kLanes elements, up to n; returns how many elements that were.
template <class Op, int kLanes, class T, class Map>
inline int64_t reduce_lanes(const T* x, int64_t n, const Map& map, T& result) {
  constexpr int64_t kBlock = 128 * kLanes;
  const int64_t whole = n / kLanes * kLanes;
  T total[kLanes];
  for (int j = 0; j < kLanes; ++j) total[j] = Op::template neutral<T>();
  for (int64_t start = 0; start < whole; start += kBlock) {
    const int64_t stop = whole - start < kBlock ? whole : start + kBlock;
    T acc[kLanes];
    for (int j = 0; j < kLanes; ++j) acc[j] = Op::template neutral<T>();
    for (int64_t i = start; i < stop; i += kLanes)
      for (int j = 0; j < kLanes; ++j) acc[j] = Op()(acc[j], map(x[i + j]));
    for (int j = 0; j < kLanes; ++j) total[j] = Op()(total[j], acc[j]);
  }
  result = Op()(result, fold<Op, kLanes>(total));
  return whole;
}

// Combines map(x[i]) for i < n. Meant to be inlined into a vectorised loop.
template <class Op, class T, class Map = Same>
inline T reduce_row(const T* x, int64_t n, const Map& map = {}) {
  constexpr int kLanes = static_cast<int>(256 / sizeof(T)), kFew = static_cast<int>(64 / sizeof(T));
  T result = Op::template neutral<T>();
  int64_t i = 0;
  if (n >= kLanes) i = reduce_lanes<Op, kLanes>(x, n, map, result);
  if (n - i >= kFew) i += reduce_lanes<Op, kFew>(x + i, n - i, map, result);
  const Op op{};
  T a = Op::template neutral<T>(), b = a, d = a;  // independent chains, in registers
  for (; i + 4 <= n; i += 4) {
    result = op(result, map(x[i]));
    a = op(a, map(x[i + 1]));
    b = op(b, map(x[i + 2]));
    d = op(d, map(x[i + 3]));
  }
  for (; i < n; ++i) a = op(a, map(x[i]));
  return op(op(result, a), op(b, d));
}

// y[i] = combination of row i of x (rows, n). Meant to be inlined into a vectorised loop. Rows too short for a vector
// run side by side, one to a lane.
template <class Op, class T>
inline void reduce_each_row(const T* x, int64_t rows, int64_t n, T* y) {
  constexpr int kLanes = static_cast<int>(64 / sizeof(T));
  int64_t r = 0;
  if (n < kLanes) {
    for (; r + kLanes <= rows; r += kLanes) {
      T acc[kLanes];
      for (int l = 0; l < kLanes; ++l) acc[l] = Op::template neutral<T>();
      for (int64_t j = 0; j < n; ++j) {
        const T* column = x + r * n + j;
        for (int l = 0; l < kLanes; ++l) acc[l] = Op()(acc[l], column[l * n]);
      }
      for (int l = 0; l < kLanes; ++l) y[r + l] = acc[l];
    }
  }
  for (; r < rows; ++r) y[r] = reduce_row<Op>(x + r * n, n);
}

template <class Op, class T>
void reduce_rows(const T* x, int64_t rows, int64_t n, T* y) {
  constexpr int64_t kGroup = 64;  // rows: in short ones the order of additions depends on the place in a group
  parallel_for((rows + kGroup - 1) / kGroup, 1 + kParallelGrain / (kGroup * n + 1), [=](int64_t begin, int64_t end, int) {
    const int64_t from = begin * kGroup, to = std::min(end * kGroup, rows);
    run_loop<T>([=] { reduce_each_row<Op>(x + from * n, to - from, n, y + from); });
  });
}

// y[j] = combination of column j of x (rows, n), for n up to a tile. Four rows at a time, blocks of 128 rows.
template <class Op, class T>
void reduce_column_tile(const T* x, int64_t rows, int64_t n, int64_t row_step, T* y) {
  constexpr int64_t kTile = 4096 / static_cast<int64_t>(sizeof(T)), kBlock = 128;
  run_loop<T>([=] {
    const Op op{};
    for (int64_t j = 0; j < n; ++j) y[j] = Op::template neutral<T>();
    for (int64_t start = 0; start < rows; start += kBlock) {
      const int64_t stop = rows - start < kBlock ? rows : start + kBlock;
      T acc[kTile];
      for (int64_t j = 0; j < n; ++j) acc[j] = Op::template neutral<T>();
      int64_t r = start;
      for (; r + 4 <= stop; r += 4) {
        const T *a = x + r * row_step, *b = a + row_step, *c = b + row_step, *d = c + row_step;
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) acc[j] = op(acc[j], op(op(a[j], b[j]), op(c[j], d[j])));
      }
      for (; r < stop; ++r) {
        const T* a = x + r * row_step;
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) acc[j] = op(acc[j], a[j]);
      }
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) y[j] = op(y[j], acc[j]);
    }
  });
}

// y[j] = combination of column j of the dense x (rows, n).
template <class Op, class T>
void reduce_columns(const T* x, int64_t rows, int64_t n, T* y) {
  constexpr int64_t kTile = 4096 / static_cast<int64_t>(sizeof(T)), kWide = kTile / 8;
  const int64_t copies = n > 0 ? kWide / n : 0;
  if (copies >= 4 && rows >= 4 * copies) {
    // few columns waste the vector unit: take several rows as one long row, then fold the long row
    T wide[kWide];
    const int64_t long_rows = rows / copies, done = long_rows * copies;
    reduce_column_tile<Op>(x, long_rows, n * copies, n * copies, wide);
    reduce_column_tile<Op>(wide, copies, n, n, y);
    if (done < rows) {
      reduce_column_tile<Op>(x + done * n, rows - done, n, n, wide);
      for (int64_t j = 0; j < n; ++j) y[j] = Op()(y[j], wide[j]);
    }
    return;
  }
  parallel_for(n, std::max<int64_t>(64, kParallelGrain / (rows + 1)), [=](int64_t begin, int64_t end, int) {
    for (int64_t j = begin; j < end; j += kTile)
      reduce_column_tile<Op>(x + j, rows, std::min(kTile, end - j), n, y + j);
  });
}

}  // namespace rf
