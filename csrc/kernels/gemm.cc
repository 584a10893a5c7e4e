#include "kernels/gemm.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/parallel.h"
#include "base/tensor.h"
#include "kernels/blas.h"
#include "kernels/tile.h"

namespace rf {
namespace {

// Below this many multiply-adds the tiles win over any BLAS.
constexpr int64_t kSmall = 32 * 32 * 32;
// Rows or columns of c in one call of the BLAS, if there are more: the same for any number of threads.
constexpr int64_t kBlasStripe = 256;
// Block of k: a panel of b stays in the nearest cache. Block of m: that of a stays in the second one.
constexpr int64_t kBlockK = 256, kBlockRows = 16, kBlockN = 2048;
// b is read in place, not packed, by so few tiles of rows.
constexpr int64_t kFewTiles = 2;
// Rows whose stride is a multiple of this many bytes fall into one set of the nearest cache.
constexpr int64_t kAliasBytes = 1024;

template <class T>
struct Product {
  int64_t m, n, k;
  const T* a;
  int64_t a_row, a_step;  // a[i, p] = a[i * a_row + p * a_step]
  const T* b;
  int64_t b_row, b_column;
  T* c;
  int64_t ldc;
  bool add;
};

// Grows, belongs to the thread, never shrinks.
template <class T>
T* packing_buffer(int which, int64_t elements) {
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<void, Free> memory[2];
  thread_local size_t size[2] = {0, 0};
  const size_t bytes = round_up(static_cast<size_t>(elements) * sizeof(T));
  if (size[which] < bytes) {
    memory[which].reset();
    size[which] = 0;
    memory[which].reset(std::aligned_alloc(kAlignment, bytes));
    if (!memory[which]) fail(Code::Internal, "[gemm] out of memory: cannot allocate ", bytes, " bytes");
    size[which] = bytes;
  }
  return static_cast<T*>(memory[which].get());
}

// Rows [0, m) of a (`row` or `step` is 1) as tiles of at most `height` rows, k by k: what one tile reads is contiguous.
template <class T>
void pack_rows(int64_t m, int64_t k, const T* a, int64_t row, int64_t step, int64_t height, T* out) {
  for (int64_t i0 = 0; i0 < m; i0 += height) {
    const int64_t rows = std::min(height, m - i0);
    const T* from = a + i0 * row;
    if (row == 1) {
      for (int64_t p = 0; p < k; ++p) std::copy_n(from + p * step, rows, out + p * rows);
    } else {
      transpose(rows, k, from, row, out, rows);
    }
    out += rows * k;
  }
}

// One pass over k, a in place. b in place as well where its columns are whole vectors and few rows use it.
template <class T>
void multiply_small(const TileSet<T>& set, const Product<T>& x) {
  static constexpr int64_t zero = 0;
  const bool in_place = x.b_column == 1 && x.n % set.lanes == 0 &&
                        (x.m <= kFewTiles * set.max_rows[2] || x.n <= set.width());
  const T* b = x.b;
  if (!in_place) {
    T* packed = packing_buffer<T>(0, x.k * set.padded(x.n));
    pack_panels(set, x.k, x.n, x.b, x.b_row, x.b_column, packed);
    b = packed;
  }
  // read no more rows of one set of the cache than it has ways
  const bool aliases = x.a_row != 1 && x.a_row * int64_t{sizeof(T)} % kAliasBytes == 0;
  const int height = aliases ? 8 : kMaxTileRows;
  Tile<T> t;
  t.a_row = x.a_row;
  t.a_step = x.a_step;
  t.a_offsets = &zero;
  t.segments = 1;
  t.length = x.k;
  t.c_row = x.ldc;
  t.add = x.add;
  for (int64_t j0 = 0; j0 < x.n; j0 += set.width()) {
    t.a = x.a;
    t.columns = std::min<int64_t>(x.n - j0, set.width());
    t.b = in_place ? b + j0 : b + x.k * j0;
    t.b_step = in_place ? x.b_row : set.padded(t.columns);
    t.c = x.c + j0;
    run_rows(set, x.m, t, height);
  }
}

// Blocks of n, k and m as in Goto & van de Geijn: b packed for a block of k, a for a block of k and m.
template <class T>
void multiply_blocked(const TileSet<T>& set, const Product<T>& x) {
  static constexpr int64_t zero = 0;
  const int64_t height = set.max_rows[2], block_m = kBlockRows * height;
  const int64_t blocks_k = (x.k + kBlockK - 1) / kBlockK, block_k = (x.k + blocks_k - 1) / blocks_k;
  T* packed_b = packing_buffer<T>(0, block_k * set.padded(std::min(x.n, kBlockN)));
  T* packed_a = packing_buffer<T>(1, block_k * std::min(x.m, block_m));
  Tile<T> t;
  t.a_row = 1;
  t.a_offsets = &zero;
  t.segments = 1;
  t.c_row = x.ldc;
  for (int64_t n0 = 0; n0 < x.n; n0 += kBlockN) {
    const int64_t columns = std::min(kBlockN, x.n - n0);
    for (int64_t p0 = 0; p0 < x.k; p0 += block_k) {
      t.length = std::min(block_k, x.k - p0);
      t.add = x.add || p0 > 0;
      pack_panels(set, t.length, columns, x.b + p0 * x.b_row + n0 * x.b_column, x.b_row, x.b_column, packed_b);
      for (int64_t m0 = 0; m0 < x.m; m0 += block_m) {
        const int64_t rows = std::min(block_m, x.m - m0);
        pack_rows(rows, t.length, x.a + m0 * x.a_row + p0 * x.a_step, x.a_row, x.a_step, height, packed_a);
        for (int64_t j0 = 0; j0 < columns; j0 += set.width()) {
          t.columns = std::min<int64_t>(columns - j0, set.width());
          t.b = packed_b + t.length * j0;
          t.b_step = set.padded(t.columns);
          for (int64_t i0 = 0; i0 < rows; i0 += height) {
            t.a_step = std::min(height, rows - i0);
            t.a = packed_a + i0 * t.length;
            t.c = x.c + (m0 + i0) * x.ldc + n0 + j0;
            set.run[set.vectors(t.columns)][t.a_step](t);
          }
        }
      }
    }
  }
}

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

// Each thread has a stripe of c, of whole tiles. How k is cut is decided by the whole product: the bits do not depend on
// the number of threads.
template <class T>
void multiply_tiled(const Product<T>& x) {
  const TileSet<T>& set = tiles<T>();
  const bool fits = x.k * set.padded(std::min<int64_t>(x.n, set.width())) * int64_t{sizeof(T)} <= 256 * 1024;
  // packing a pays when many panels of b read it
  const bool small = x.m * x.n * x.k <= kSmall || (fits && x.n <= 4 * set.width());
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
