// `_SumOfProducts` and `_AddProducts`: a sum of matrix products, and of a matrix and products, as one node
// (graph/passes/products/sum_products.py makes them).
#include "kernels/sum_of_products.h"

#include <algorithm>

#include "kernels/gemm.h"
#include "kernels/strided.h"

namespace rf {
namespace {

// Neighbours that are computed as one product.
struct Run {
  size_t begin, end;
  int64_t k;
};

template <class T>
std::vector<Run> runs_of(const Products<T>& p) {
  const auto small = [&](size_t i) {  // copying factors that are larger than the sum would cost more than it saves
    return p.a[i].k * (p.m + p.n) <= p.m * p.n;
  };
  std::vector<Run> runs;
  for (size_t i = 0; i < p.a.size(); ++i) {
    if (runs.empty() || runs.back().k >= kWorthAProduct || !small(i) || !small(i - 1)) runs.push_back({i, i, 0});
    runs.back().end = i + 1;
    runs.back().k += p.a[i].k;
  }
  return runs;
}

// The factors of a run one after another along k, where they lie or in `to`. `rows`: k is their first dimension; `other`:
// their other one.
template <class T>
const T* gathered(const std::vector<Factor<T>>& factors, const Run& run, bool rows, int64_t other, T* to) {
  constexpr int64_t w = sizeof(T);
  const T* const gathered = to;
  bool adjacent = run.end - run.begin == 1 || rows;
  for (size_t i = run.begin; i + 1 < run.end; ++i)
    adjacent = adjacent && factors[i + 1].data == factors[i].data + factors[i].k * other;
  if (adjacent) return factors[run.begin].data;
  for (size_t i = run.begin; i < run.end; ++i) {
    const int64_t k = factors[i].k;
    StridedCopy copy(sizeof(T));
    if (!rows) copy.add(other, k * w, run.k * w);
    copy.add(rows ? k * other : k, w, w);
    copy.run(factors[i].data, to);
    to += rows ? k * other : k;
  }
  return gathered;
}

}  // namespace

template <class T>
void add_products(Context& c, const Products<T>& p, bool add, T* sum) {
  const std::vector<Run> runs = runs_of(p);
  int64_t longest = 0;
  for (const Run& run : runs)
    if (run.end - run.begin > 1) longest = std::max(longest, run.k);
  T* const memory = static_cast<T*>(c.scratch(static_cast<size_t>((p.m + p.n) * longest) * sizeof(T)));
  for (const Run& run : runs) {
    const T* const a = gathered(p.a, run, p.transpose_a, p.m, memory);
    const T* const b = gathered(p.b, run, !p.transpose_b, p.n, memory + p.m * longest);
    gemm(p.transpose_a, p.transpose_b, p.m, p.n, run.k, T(1), a, p.transpose_a ? p.m : run.k, b, p.transpose_b ? run.k : p.n,
         add ? T(1) : T(0), sum, p.n);
    add = true;
  }
}

template void add_products(Context&, const Products<float>&, bool, float*);
template void add_products(Context&, const Products<double>&, bool, double*);

namespace {

// Of `count` products, the factors of which are the inputs from `first` on.
template <class T>
Products<T> read_products(Context& c, int first, bool transpose_a, bool transpose_b, int64_t count) {
  const std::string& op = c.node().op;
  check(count > 0 && c.num_inputs() == 2 * count + first, "[", op, "] node '", c.node().name, "' says that it has ", count,
        " products: it has ", c.num_inputs(), " inputs");
  Products<T> p{transpose_a, transpose_b, 0, 0, {}, {}};
  for (int i = 0; i < count; ++i) {
    const Tensor &a = c.input(first + i), &b = c.input(first + i + static_cast<int>(count));
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

template <class T>
Kernel sum_of_products(const Node& node) {
  const bool ta = node.attr("transpose_a", false), tb = node.attr("transpose_b", false);
  const int64_t count = node.attr<int64_t>("N");
  return [ta, tb, count](Context& c) {
    const Products<T> p = read_products<T>(c, 0, ta, tb, count);
    add_products(c, p, false, c.output(0, {p.m, p.n}).template data<T>());
  };
}

template <class T>
Kernel add_to_products(const Node& node) {
  const bool ta = node.attr("transpose_a", false), tb = node.attr("transpose_b", false);
  const int64_t count = node.attr<int64_t>("N");
  return [ta, tb, count](Context& c) {
    const Products<T> p = read_products<T>(c, 1, ta, tb, count);
    const Tensor& addend = c.input(0);
    check(addend.shape() == Shape({p.m, p.n}), "[_AddProducts] all terms must have one shape: the addend is ", addend.shape(),
          ", the products are ", Shape{p.m, p.n});
    const T* from = addend.data<T>();
    T* sum = c.output(0, {p.m, p.n}).template data<T>();
    if (sum != from) std::copy_n(from, p.m * p.n, sum);
    add_products(c, p, true, sum);
  };
}

}  // namespace

RF_KERNEL("_SumOfProducts", sum_of_products, float, double)
RF_REGISTER("_AddProducts", "T", OverFirst, add_to_products, float, double);

}  // namespace rf
