#include "kernels/gemm.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/blas.h"
#include "kernels/gemm_tiled.h"

namespace rf {
namespace {

// Below this many multiply-adds the tiles win over any BLAS.
constexpr int64_t kSmall = 32 * 32 * 32;
// A panel of b of so many rows stays in the second cache: where c has no more columns, k need not be cut.
constexpr int64_t kOnePanel = 2048;
// A transposed b with so many times more columns than a has rows stays as it is, where these are few: c is held twice.
constexpr int64_t kLong = 4, kFewRows = 64;
// Rows or columns of c in one call of the BLAS, if there are more: the same for any number of threads.
constexpr int64_t kBlasStripe = 256;

// The rows [from, to) of c, or its columns.
template <class T>
Product<T> rows_of(Product<T> x, int64_t from, int64_t to) {
  x.a += from * x.a_row;
  x.c += from * x.ldc;
  x.m = to - from;
  return x;
}
template <class T>
Product<T> columns_of(Product<T> x, int64_t from, int64_t to) {
  x.b += from * x.b_column;
  x.c += from;
  x.n = to - from;
  return x;
}

template <class T>
void multiply_tiled(const Product<T>& x);

// c' = b' a', then transposed: of the two factors the smaller one is rearranged for the tiles.
template <class T>
void multiply_mirrored(const Product<T>& x) {
  thread_local std::vector<T> memory;
  if (memory.size() < static_cast<size_t>(x.m * x.n)) memory.resize(static_cast<size_t>(x.m * x.n));
  T* mirrored = memory.data();
  multiply_tiled(Product<T>{x.n, x.m, x.k, x.b, x.b_column, x.b_row, x.a, x.a_step, x.a_row, mirrored, x.m, false});
  if (!x.add) return transpose(x.n, x.m, mirrored, x.m, x.c, x.ldc);
  for (int64_t i = 0; i < x.m; ++i)
    for (int64_t j = 0; j < x.n; ++j) x.c[i * x.ldc + j] += mirrored[j * x.m + i];
}

// Each thread has a stripe of c, of whole tiles. How k is cut is decided by the whole product: the bits do not depend on
// the number of threads.
template <class T>
void multiply_tiled(const Product<T>& x) {
  if (x.b_column != 1 && x.m <= kFewRows && x.n >= kLong * x.m && x.m * x.n * x.k > kSmall) return multiply_mirrored(x);
  const TileSet<T>& set = tiles<T>();
  const bool one_panel = x.n <= set.width() && x.a_row != 1 && x.k <= kOnePanel;
  const bool small = one_panel || x.m * x.n * x.k <= kSmall;
  const auto run = [&](const Product<T>& stripe) { small ? multiply_small(set, stripe) : multiply_blocked(set, stripe); };
  const bool by_rows = x.m >= x.n;  // the longer side: less is packed twice
  const int64_t unit = by_rows ? set.max_rows[2] : set.width(), length = by_rows ? x.m : x.n;
  const int64_t grain = 1 + kWorthAThread / std::max<int64_t>(unit * x.k * (by_rows ? x.n : x.m), 1);
  parallel_for((length + unit - 1) / unit, grain, [&](int64_t begin, int64_t end, int) {
    const int64_t from = begin * unit, to = std::min(end * unit, length);
    run(by_rows ? rows_of(x, from, to) : columns_of(x, from, to));
  });
}

// A stripe of c is one thread's: threads of the BLAS's own would take the cores of others, and change the bits.
void keep_blas_to_one_thread() {
  [[maybe_unused]] static const bool done = [] {
    if (RF_BLAS(openblas_set_num_threads)) RF_BLAS(openblas_set_num_threads)(1);
    return true;
  }();
}

void call_blas(int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b, int ldb,
               float beta, float* c, int ldc) {
  RF_BLAS(cblas_sgemm)(blas::kRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void call_blas(int ta, int tb, int m, int n, int k, double alpha, const double* a, int lda, const double* b, int ldb,
               double beta, double* c, int ldc) {
  RF_BLAS(cblas_dgemm)(blas::kRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
void multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
              const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  const bool simple = alpha == T(1) && (beta == T(0) || beta == T(1));
  const bool small = m * n * k <= kSmall;
  if (simple && (small || wide_tiles()))
    return multiply_tiled(Product<T>{m, n, k, a, transpose_a ? 1 : lda, transpose_a ? lda : 1, b,
                                     transpose_b ? 1 : ldb, transpose_b ? ldb : 1, c, ldc, beta == T(1)});
  keep_blas_to_one_thread();
  constexpr int64_t most = std::numeric_limits<int>::max();
  check(m <= most && n <= most && k <= most && lda <= most && ldb <= most && ldc <= most,
        "[gemm] a dimension exceeds 2^31 - 1: m=", m, " n=", n, " k=", k);
  const bool by_rows = m >= n;
  const int64_t length = by_rows ? m : n;
  parallel_for((length + kBlasStripe - 1) / kBlasStripe, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t from = begin * kBlasStripe; from < std::min(end * kBlasStripe, length); from += kBlasStripe) {
      const int64_t size = std::min(kBlasStripe, length - from), row = by_rows ? from : 0, column = by_rows ? 0 : from;
      call_blas(transpose_a ? blas::kTranspose : blas::kNoTranspose, transpose_b ? blas::kTranspose : blas::kNoTranspose,
                static_cast<int>(by_rows ? size : m), static_cast<int>(by_rows ? n : size), static_cast<int>(k), alpha,
                a + row * (transpose_a ? 1 : lda), static_cast<int>(lda), b + column * (transpose_b ? ldb : 1),
                static_cast<int>(ldb), beta, c + row * ldc + column, static_cast<int>(ldc));
    }
  });
}

}  // namespace

void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  multiply(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a,
          int64_t lda, const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  multiply(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace rf
