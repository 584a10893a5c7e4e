#include "kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/tensor.h"
#include "kernels/blas.h"
#include "kernels/tile.h"

namespace rf {
namespace {

std::atomic<int> blas_threads{1};

// Below this many multiply-adds the tiles win over any BLAS.
constexpr int64_t kSmall = 32 * 32 * 32;
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

template <class T>
void multiply_tiled(const Product<T>& x) {
  const TileSet<T>& set = tiles<T>();
  const bool fits = x.k * set.padded(std::min<int64_t>(x.n, set.width())) * int64_t{sizeof(T)} <= 256 * 1024;
  // packing a pays when many panels of b read it
  if (x.m * x.n * x.k <= kSmall || (fits && x.n <= 4 * set.width()))
    multiply_small(set, x);
  else
    multiply_blocked(set, x);
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
  if (simple && (small || (wide_tiles() && blas_threads.load(std::memory_order_relaxed) <= 1)))
    return multiply_tiled(Product<T>{m, n, k, a, transpose_a ? 1 : lda, transpose_a ? lda : 1, b,
                                     transpose_b ? 1 : ldb, transpose_b ? ldb : 1, c, ldc, beta == T(1)});
  constexpr int64_t most = std::numeric_limits<int>::max();
  check(m <= most && n <= most && k <= most && lda <= most && ldb <= most && ldc <= most,
        "[gemm] a dimension exceeds 2^31 - 1: m=", m, " n=", n, " k=", k);
  call_blas(transpose_a ? blas::kTranspose : blas::kNoTranspose, transpose_b ? blas::kTranspose : blas::kNoTranspose,
            static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, a, static_cast<int>(lda), b,
            static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
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

void set_blas_threads(int threads) {
  check(threads >= 1, "[set_blas_threads] at least one thread is needed: got ", threads);
  blas_threads.store(threads, std::memory_order_relaxed);
  if (RF_BLAS(openblas_set_num_threads)) RF_BLAS(openblas_set_num_threads)(threads);
}

}  // namespace rf
