// `_ProductSum`, `_ProductSumAdd`, `_ProductSumValue`: a sum of matrix products that the iterations of a loop add to
// (graph/passes/products/sum_iterations.py makes them of additions).
//
// Factors wait until together they are worth a product. The handle goes from iteration to iteration and so orders the
// additions: the bits do not depend on threads. The lock is for graphs that do not.
#include <mutex>
#include <utility>

#include "kernels/sum_of_products.h"

namespace rf {
namespace {

template <class T>
class ProductSum : public Resource {
 public:
  explicit ProductSum(Tensor initial) : sum_(std::move(initial)) {}

  void add(Context& c, bool transpose_a, bool transpose_b, Tensor a, Tensor b) {
    std::lock_guard<std::mutex> lock(mutex_);
    check_product(a, b, transpose_a, transpose_b);
    if (transpose_a != transpose_a_ || transpose_b != transpose_b_) flush(c);
    transpose_a_ = transpose_a;
    transpose_b_ = transpose_b;
    waiting_k_ += a.dim(!transpose_a);
    a_.push_back(std::move(a));
    b_.push_back(std::move(b));
    if (waiting_k_ >= kWorthAProduct) flush(c);
  }

  Tensor value(Context& c) {
    std::lock_guard<std::mutex> lock(mutex_);
    flush(c);
    return sum_;
  }

 private:
  void check_product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) const {
    const char* where = "_ProductSumAdd";
    check(a.rank() == 2 && b.rank() == 2, "[", where, "] all inputs must be matrices: a is ", a.shape(), ", b ", b.shape());
    check(a.dim(!transpose_a) == b.dim(transpose_b), "[", where, "] dimension 'k' differs: a is ", a.shape(),
          transpose_a ? " transposed" : "", ", b ", b.shape(), transpose_b ? " transposed" : "");
    const Shape product{a.dim(transpose_a), b.dim(!transpose_b)};
    check(product == sum_.shape(), "[", where, "] a product of the shape ", product, " cannot be added to a sum of the shape ",
          sum_.shape());
  }

  void flush(Context& c) {
    if (a_.empty()) return;
    // others may still read what the sum began with
    if (!sum_.buffer() || !sum_.buffer()->unique()) sum_ = copy_of(sum_);
    Products<T> p{transpose_a_, transpose_b_, sum_.dim(0), sum_.dim(1), {}, {}};
    for (size_t i = 0; i < a_.size(); ++i) {
      const int64_t k = a_[i].dim(!transpose_a_);
      p.a.push_back({a_[i].template data<T>(), k});
      p.b.push_back({b_[i].template data<T>(), k});
    }
    add_products(c, p, true, sum_.template data<T>());
    a_.clear();
    b_.clear();
    waiting_k_ = 0;
  }

  std::mutex mutex_;
  Tensor sum_;
  bool transpose_a_ = false, transpose_b_ = false;  // of the factors that wait
  std::vector<Tensor> a_, b_;
  int64_t waiting_k_ = 0;
};

template <class T>
Kernel make_sum(const Node&) {
  return [](Context& c) {
    check(c.input(0).dtype() == DTypeOf<T>::value && c.input(0).rank() == 2, "[_ProductSum] 'initial' must be a matrix of ",
          name_of(DTypeOf<T>::value), ": got ", name_of(c.input(0).dtype()), " of shape ", c.input(0).shape());
    c.set_resource_output(0, std::make_shared<ProductSum<T>>(c.hold(0)));
  };
}

template <class T>
Kernel add(const Node& node) {
  const bool ta = node.attr("transpose_a", false), tb = node.attr("transpose_b", false);
  const int64_t count = node.attr<int64_t>("N");
  return [ta, tb, count](Context& c) {
    check(count > 0 && c.num_inputs() == 2 * count + 1, "[_ProductSumAdd] node '", c.node().name, "' says that it has ", count,
          " products: it has ", c.num_inputs(), " inputs");
    const auto sum = c.resource<ProductSum<T>>(0);
    for (int i = 1; i <= static_cast<int>(count); ++i) {
      Tensor a = c.hold(i), b = c.hold(i + static_cast<int>(count));
      check(a.dtype() == DTypeOf<T>::value && b.dtype() == DTypeOf<T>::value, "[_ProductSumAdd] a sum of ",
            name_of(DTypeOf<T>::value), " has products of that dtype: got ", name_of(a.dtype()), " and ", name_of(b.dtype()));
      sum->add(c, ta, tb, std::move(a), std::move(b));
    }
    c.pass_handle(0, 0);
  };
}

template <class T>
Kernel value(const Node&) {
  return [](Context& c) { c.set_output(0, c.resource<ProductSum<T>>(0)->value(c)); };
}

}  // namespace

RF_KERNEL("_ProductSum", make_sum, float, double)
RF_KERNEL("_ProductSumAdd", add, float, double)
RF_KERNEL("_ProductSumValue", value, float, double)

}  // namespace rf
