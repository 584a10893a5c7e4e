// Matrix products, row-major: c = alpha * op(a) op(b) + beta * c, where op(a) is m x k and op(b) is k x n.
//
// Products too small to pay for a call of the BLAS, and all of them where the processor has 512-bit vectors
// (most BLAS builds pick narrower kernels on processors that they do not know), run on the tiles of
// tile.h; the others go to CBLAS. `k` may be 0, and `beta` 0 overwrites c whatever it held.
// Large products use the intra-op threads (base/parallel.h); the bits do not depend on their number. Thread-safe:
// packing buffers belong to the thread.
#pragma once

#include <cstdint>

namespace rf {

// Multiply-adds from which on another thread pays.
constexpr int64_t kWorthAThread = 128 * 128 * 128;

void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a,
          int64_t lda, const double* b, int64_t ldb, double beta, double* c, int64_t ldc);

}  // namespace rf
