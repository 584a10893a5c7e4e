// Exponentials of rows, for softmax and what is made of it. Meant to be inlined into a vectorised loop.
#pragma once

#include "kernels/reduce.h"

namespace rf {

// shifted = x - max of the row; y = e^shifted; sums = sums of y, for each of `rows` rows of n. `shifted` may be y, and
// either may be x.
template <class T>
inline void exponentials(const T* x, int64_t rows, int64_t n, T* shifted, T* y, T* sums) {
  reduce_each_row<MaxOf>(x, rows, n, sums);
  for (int64_t r = 0; r < rows; ++r) {
    const T* in = x + r * n;
    T* out = shifted + r * n;
    const T most = sums[r];
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) out[j] = in[j] - most;
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < rows * n; ++i) y[i] = math::exp(shifted[i]);
  reduce_each_row<SumOf>(y, rows, n, sums);
}

// y = softmax of each row of x, which y may be; `sums` holds `rows` elements meanwhile.
template <class T>
inline void softmax_rows(const T* x, int64_t rows, int64_t n, T* y, T* sums) {
  exponentials(x, rows, n, y, y, sums);
  for (int64_t r = 0; r < rows; ++r) {
    const T a = T(1) / sums[r];
    T* row = y + r * n;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) row[j] *= a;
  }
}

}  // namespace rf
