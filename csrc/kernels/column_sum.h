// Sums of the columns of a matrix whose rows come a few at a time, in the order of additions of reduce_columns (reduce.h):
// blocks of 128 rows, in each of which four rows are added to each other and then to the sum.
#pragma once

#include "kernels/reduce.h"

namespace rf {

constexpr int64_t kColumnBlock = 128;

// One block. What it knows lies in memory that the caller holds from call to call.
template <class T>
class ColumnSum {
 public:
  // Elements that a sum over rows of `width` holds.
  static int64_t memory(int64_t width) { return 3 * width; }
  // `rows`: how many the whole block has.
  ColumnSum(T* memory, int64_t width, int64_t rows)
      : sum_(memory), pair_(memory + width), third_(memory + 2 * width), width_(width), whole_(rows / 4 * 4) {}

  // Rows [first, first + count) of the block, each after the ones before it.
  void add(const T* x, int64_t first, int64_t count) {
    const int64_t n = width_;
    T *sum = sum_, *pair = pair_, *third = third_;
    const int64_t whole = whole_;
    run_loop<T>([=] {
      if (first == 0)
        for (int64_t j = 0; j < n; ++j) sum[j] = T(0);
      for (int64_t r = 0; r < count;) {
        const T* a = x + r * n;
        const int64_t place = first + r;
        if (place >= whole) {
#pragma GCC ivdep
          for (int64_t j = 0; j < n; ++j) sum[j] = sum[j] + a[j];
        } else if (place % 4 == 0 && r + 4 <= count) {
          const T *b = a + n, *c = b + n, *d = c + n;
#pragma GCC ivdep
          for (int64_t j = 0; j < n; ++j) sum[j] = sum[j] + ((a[j] + b[j]) + (c[j] + d[j]));
          r += 3;
        } else if (place % 4 == 0) {
          std::copy_n(a, n, pair);
        } else if (place % 4 == 1) {
#pragma GCC ivdep
          for (int64_t j = 0; j < n; ++j) pair[j] = pair[j] + a[j];
        } else if (place % 4 == 2) {
          std::copy_n(a, n, third);
        } else {
#pragma GCC ivdep
          for (int64_t j = 0; j < n; ++j) sum[j] = sum[j] + (pair[j] + (third[j] + a[j]));
        }
        ++r;
      }
    });
  }

  // The sum of the block, after its last row.
  void finish(T* y) const { std::copy_n(sum_, width_, y); }

 private:
  T *sum_, *pair_, *third_;
  int64_t width_, whole_;
};

// y = the sum of the sums of all blocks (blocks, width).
template <class T>
void add_blocks(const T* sums, int64_t blocks, int64_t width, T* y) {
  run_loop<T>([=] {
    for (int64_t j = 0; j < width; ++j) y[j] = T(0);
    for (int64_t b = 0; b < blocks; ++b)
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) y[j] = y[j] + sums[b * width + j];
  });
}

}  // namespace rf
