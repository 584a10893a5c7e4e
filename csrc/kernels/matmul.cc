// MatMul and BatchMatMulV2. Transposes are folded into the product; a batch that shares one right matrix
// is a single product.
#include <algorithm>
#include <type_traits>

#include "base/parallel.h"
#include "kernels/gemm.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

// c (m x n) = op(a) op(b), all dense.
template <class T>
void multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c) {
  if constexpr (std::is_floating_point_v<T>) {
    gemm(transpose_a, transpose_b, m, n, k, T(1), a, transpose_a ? m : k, b, transpose_b ? k : n, T(0), c, n);
  } else {
    // unsigned: overflow wraps, as in NumPy
    using U = std::make_unsigned_t<T>;
    vectorised([&] {
      for (int64_t i = 0; i < m; ++i) {
        T* row = c + i * n;
        for (int64_t j = 0; j < n; ++j) row[j] = 0;
        for (int64_t p = 0; p < k; ++p) {
          const U x = static_cast<U>(transpose_a ? a[p * m + i] : a[i * k + p]);
          if (transpose_b)
            for (int64_t j = 0; j < n; ++j) row[j] = static_cast<T>(static_cast<U>(row[j]) + x * static_cast<U>(b[j * k + p]));
          else
            for (int64_t j = 0; j < n; ++j) row[j] = static_cast<T>(static_cast<U>(row[j]) + x * static_cast<U>(b[p * n + j]));
        }
      }
    });
  }
}

template <class T>
Kernel mat_mul(const Node& node) {
  const bool ta = node.attr("transpose_a", false), tb = node.attr("transpose_b", false);
  return [ta, tb](Context& c) {
    const Tensor &a = c.input(0), &b = c.input(1);
    check(a.rank() == 2 && b.rank() == 2, "[MatMul] both inputs must be matrices: a ", a.shape(), ", b ", b.shape(),
          ". Fix: reshape them, or use BatchMatMulV2 for stacks of matrices");
    const int64_t m = a.dim(ta), k = a.dim(!ta), n = b.dim(!tb), k_of_b = b.dim(tb);
    check(k == k_of_b, "[MatMul] dimension 'k' differs: a ", a.shape(), ta ? " transposed" : "", " has k=", k, ", b ",
          b.shape(), tb ? " transposed" : "", " has k=", k_of_b, ". Fix: make the inner dimensions equal");
    Tensor& out = c.output(0, {m, n});
    multiply(ta, tb, m, n, k, a.data<T>(), b.data<T>(), out.data<T>());
  };
}

// Batch dimensions of two stacks, broadcast against each other; strides are in matrices, 0 where repeated.
struct Batch {
  int rank = 0;
  int64_t dims[Shape::kMaxRank], stride_x[Shape::kMaxRank], stride_y[Shape::kMaxRank];
  int64_t count = 1;
};

Batch broadcast_batch(const Shape& x, const Shape& y) {
  Batch batch;
  batch.rank = std::max(x.rank(), y.rank()) - 2;
  int64_t of_x = 1, of_y = 1;
  for (int axis = batch.rank - 1, from_end = 3; axis >= 0; --axis, ++from_end) {
    const int64_t dx = from_end <= x.rank() ? x[x.rank() - from_end] : 1;
    const int64_t dy = from_end <= y.rank() ? y[y.rank() - from_end] : 1;
    check(dx == dy || dx == 1 || dy == 1, "[BatchMatMulV2] batch dimensions do not broadcast: x ", x, ", y ", y,
          ". Fix: make them equal, or 1 where one side is to be repeated");
    batch.dims[axis] = dx == 1 ? dy : dx;
    batch.stride_x[axis] = dx == 1 ? 0 : of_x;
    batch.stride_y[axis] = dy == 1 ? 0 : of_y;
    of_x *= dx;
    of_y *= dy;
    batch.count *= batch.dims[axis];
  }
  return batch;
}

template <class T>
Kernel batch_mat_mul(const Node& node) {
  const bool adj_x = node.attr("adj_x", false), adj_y = node.attr("adj_y", false);
  return [adj_x, adj_y](Context& c) {
    const Tensor &x = c.input(0), &y = c.input(1);
    check(x.rank() >= 2 && y.rank() >= 2, "[BatchMatMulV2] both inputs must be matrices or stacks of them: x ",
          x.shape(), ", y ", y.shape(), ". Fix: give each at least two dimensions");
    const int rx = x.rank(), ry = y.rank();
    const int64_t m = x.dim(adj_x ? rx - 1 : rx - 2), k = x.dim(adj_x ? rx - 2 : rx - 1);
    const int64_t n = y.dim(adj_y ? ry - 2 : ry - 1), k_of_y = y.dim(adj_y ? ry - 1 : ry - 2);
    check(k == k_of_y, "[BatchMatMulV2] dimension 'k' differs: x ", x.shape(), adj_x ? " transposed" : "", " has k=", k,
          ", y ", y.shape(), adj_y ? " transposed" : "", " has k=", k_of_y, ". Fix: make the inner dimensions equal");
    const Batch batch = broadcast_batch(x.shape(), y.shape());
    Shape shape(batch.dims, batch.dims + batch.rank);
    shape.add(m);
    shape.add(n);
    Tensor& out = c.output(0, shape);
    if (out.num_elements() == 0) return;

    const T *px = x.data<T>(), *py = y.data<T>();
    T* po = out.data<T>();
    const bool one_y = y.shape().product(0, ry - 2) == 1;
    if (one_y && !adj_x) return multiply(false, adj_y, batch.count * m, n, k, px, py, po);

    const bool few = batch.count < intra_op_threads();  // then each product uses the threads
    parallel_for(batch.count, few ? batch.count : 1 + kWorthAThread / (m * n * k + 1), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t at_x = 0, at_y = 0, rest = i;
        for (int axis = batch.rank - 1; axis >= 0; --axis) {
          at_x += rest % batch.dims[axis] * batch.stride_x[axis];
          at_y += rest % batch.dims[axis] * batch.stride_y[axis];
          rest /= batch.dims[axis];
        }
        multiply(adj_x, adj_y, m, n, k, px + at_x * m * k, py + at_y * k * n, po + i * m * n);
      }
    });
  };
}

}  // namespace

RF_KERNEL("MatMul", mat_mul, float, double, int32_t, int64_t)
RF_KERNEL("BatchMatMulV2", batch_mat_mul, float, double, int32_t, int64_t)

}  // namespace rf
