// Sums of matrix products, float and double: sum = op(a[0]) op(b[0]) + op(a[1]) op(b[1]) + ...
//
// A product of few rows (k) reads and writes the whole sum for little work: the gradient of a recurrent network's weights
// is made of one such for each step. Neighbours are gathered: their factors, one after another along k, are those of one
// larger product. The order of summation depends on the shapes alone. Threads: as gemm.h.
#pragma once

#include <vector>

#include "kernels/kernel.h"

namespace rf {

// The k from which on reading and writing the sum costs little beside the product.
constexpr int64_t kWorthAProduct = 512;

template <class T>
struct Factor {
  const T* data;
  int64_t k;
};

// Factors a[i] (m x k of i) and b[i] (k of i x n), up to transposes. Every a[i].k is b[i].k.
template <class T>
struct Products {
  bool transpose_a, transpose_b;
  int64_t m = 0, n = 0;
  std::vector<Factor<T>> a, b;
};

// sum (m x n) = the products, + sum where `add`. Uses memory of the kernel that is running.
template <class T>
void add_products(Context& c, const Products<T>& products, bool add, T* sum);

}  // namespace rf
