// `_SumOfProducts`: the sum of many matrix products, without the products (graph/passes/sum_products.py makes it).
//
// A product of few rows (k) reads and writes the whole sum for little work: the gradient of a recurrent network's weights
// is made of one such for each step. Neighbours are gathered: their factors, one after another along k, are those of one
// larger product. The order of summation depends on the shapes alone.
#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "kernels/gemm.h"
#include "kernels/kernel.h"
#include "kernels/strided.h"

namespace rf {
namespace {

constexpr int64_t kWorthAProduct = 512;  // k from which on reading and writing the sum costs little beside the product

template <class T>
struct Factor {
  const T* data;
  int64_t k;
};

// The inputs of the node as a[i] (m x k of i) and b[i] (k of i x n), up to transposes.
template <class T>
struct Products {
  bool transpose_a, transpose_b;
  int64_t m = 0, n = 0;
  std::vector<Factor<T>> a, b;
};

template <class T>
Products<T> read_products(Context& c, bool transpose_a, bool transpose_b, int64_t count) {
  const std::string& op = c.node().op;
  check(count > 0 && c.num_inputs() == 2 * count, "[", op, "] node '", c.node().name, "' says that it has ", count,
        " products: it has ", c.num_inputs(), " inputs");
  Products<T> p{transpose_a, transpose_b, 0, 0, {}, {}};
  for (int i = 0; i < count; ++i) {
    const Tensor &a = c.input(i), &b = c.input(i + static_cast<int>(count));
    check(a.rank() == 2 && b.rank() == 2, "[", op, "] all inputs must be matrices: a[", i, "] is ", a.shape(), ", b[", i,
          "] ", b.shape());
    const int64_t m = a.dim(transpose_a), k = a.dim(!transpose_a), n = b.dim(!transpose_b);
    check(b.dim(transpose_b) == k, "[", op, "] dimension 'k' differs: a[", i, "] is ", a.shape(),
          transpose_a ? " transposed" : "", ", b[", i, "] ", b.shape(), transpose_b ? " transposed" : "");
    if (i == 0) p.m = m, p.n = n;
    check(m == p.m && n == p.n, "[", op, "] all products must have one shape: product 0 is ", Shape{p.m, p.n}, ", product ",
          i, " is ", Shape{m, n});
    p.a.push_back({a.data<T>(), k});
    p.b.push_back({b.data<T>(), k});
  }
  return p;
}

// Neighbours that are computed as one product.
struct Run {
  size_t begin, end;
  int64_t k;
};

template <class T>
std::vector<Run> runs_of(const Products<T>& p) {
  const auto gathered = [&](size_t i) {  // copying factors that are larger than the sum would cost more than it saves
    return p.a[i].k * (p.m + p.n) <= p.m * p.n;
  };
  std::vector<Run> runs;
  for (size_t i = 0; i < p.a.size(); ++i) {
    if (runs.empty() || runs.back().k >= kWorthAProduct || !gathered(i) || !gathered(i - 1)) runs.push_back({i, i, 0});
    runs.back().end = i + 1;
    runs.back().k += p.a[i].k;
  }
  return runs;
}

// The factors of a run one after another along k. `rows`: k is their first dimension; `other`: their other one.
template <class T>
void gather(const std::vector<Factor<T>>& factors, const Run& run, bool rows, int64_t other, T* to) {
  constexpr int64_t w = sizeof(T);
  for (size_t i = run.begin; i < run.end; ++i) {
    const int64_t k = factors[i].k;
    StridedCopy copy(sizeof(T));
    if (!rows) copy.add(other, k * w, run.k * w);
    copy.add(rows ? k * other : k, w, w);
    copy.run(factors[i].data, to);
    to += rows ? k * other : k;
  }
}

// sum (m x n) = the products, + sum where `add`.
template <class T>
void add_products(Context& c, const Products<T>& p, bool add, T* sum) {
  const std::vector<Run> runs = runs_of(p);
  int64_t longest = 0;
  for (const Run& run : runs)
    if (run.end - run.begin > 1) longest = std::max(longest, run.k);
  T* const gathered_a = static_cast<T*>(c.scratch(static_cast<size_t>((p.m + p.n) * longest) * sizeof(T)));
  T* const gathered_b = gathered_a + p.m * longest;
  for (const Run& run : runs) {
    const T *a = p.a[run.begin].data, *b = p.b[run.begin].data;
    if (run.end - run.begin > 1) {
      gather(p.a, run, p.transpose_a, p.m, gathered_a);
      gather(p.b, run, !p.transpose_b, p.n, gathered_b);
      a = gathered_a;
      b = gathered_b;
    }
    gemm(p.transpose_a, p.transpose_b, p.m, p.n, run.k, T(1), a, p.transpose_a ? p.m : run.k, b, p.transpose_b ? run.k : p.n,
         add ? T(1) : T(0), sum, p.n);
    add = true;
  }
}

template <class T>
Kernel sum_of_products(const Node& node) {
  const bool ta = node.attr("transpose_a", false), tb = node.attr("transpose_b", false);
  const int64_t count = node.attr<int64_t>("N");
  return [ta, tb, count](Context& c) {
    const Products<T> p = read_products<T>(c, ta, tb, count);
    add_products(c, p, false, c.output(0, {p.m, p.n}).template data<T>());
  };
}

}  // namespace

RF_KERNEL("_SumOfProducts", sum_of_products, float, double)

}  // namespace rf
