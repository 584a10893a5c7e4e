// The functions of CBLAS that ringflow calls, declared here because the site's cblas.h is not needed for them.
// RF_BLAS_PREFIX, defined by the build, is what the library puts before its names: `scipy_` or nothing.
#pragma once

#ifndef RF_BLAS_PREFIX
#define RF_BLAS_PREFIX
#endif
#define RF_BLAS_JOIN_(prefix, name) prefix##name
#define RF_BLAS_JOIN(prefix, name) RF_BLAS_JOIN_(prefix, name)
#define RF_BLAS(name) RF_BLAS_JOIN(RF_BLAS_PREFIX, name)

extern "C" {
void RF_BLAS(cblas_sgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float* a,
                          int lda, const float* b, int ldb, float beta, float* c, int ldc);
void RF_BLAS(cblas_dgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha,
                          const double* a, int lda, const double* b, int ldb, double beta, double* c, int ldc);
// OpenBLAS only; absent from other libraries.
__attribute__((weak)) void RF_BLAS(openblas_set_num_threads)(int threads);
}

namespace rf::blas {
constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
}
