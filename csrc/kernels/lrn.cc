// LRN and LRNGrad: local response normalization over the last dimension. Source: Krizhevsky et al., NIPS 2012, 3.3.
#include <algorithm>

#include "kernels/elementwise.h"

namespace rf {
namespace {

template <class T>
struct Attrs {
  int64_t radius;
  T bias, alpha, beta;

  explicit Attrs(const Node& node)
      : radius(node.attr<int64_t>("depth_radius", 5)), bias(static_cast<T>(node.attr<float>("bias", 1.0f))),
        alpha(static_cast<T>(node.attr<float>("alpha", 1.0f))), beta(static_cast<T>(node.attr<float>("beta", 0.5f))) {
    check(radius >= 0, "[", node.op, "] depth_radius must not be negative: got ", radius);
  }
};

// sums[k] = the sum of terms over the channels at most `radius` from k.
template <class T>
inline void sum_near(const T* terms, int64_t n, int64_t radius, T* sums) {
  for (int64_t k = 0; k < n; ++k) {
    const int64_t from = k < radius ? 0 : k - radius, to = k + radius + 1 < n ? k + radius + 1 : n;
    T sum = T(0);
    for (int64_t j = from; j < to; ++j) sum += terms[j];
    sums[k] = sum;
  }
}

// norms = bias + alpha * sum of x^2 nearby
template <class T>
inline void norms_of(const Attrs<T>& a, const T* x, int64_t n, T* squares, T* norms) {
  for (int64_t k = 0; k < n; ++k) squares[k] = x[k] * x[k];
  sum_near(squares, n, a.radius, norms);
  for (int64_t k = 0; k < n; ++k) norms[k] = a.bias + a.alpha * norms[k];
}

int64_t channels_of(const Context& c, const Shape& s) {
  check(s.rank() == 4, "[", c.node().op, "] images must be (batch, height, width, channels): got shape ", s);
  return s[3];
}

template <class T>
Kernel lrn(const Node& node) {
  return [a = Attrs<T>(node)](Context& c) {
    const Tensor& x = c.input(0);
    const int64_t n = channels_of(c, x.shape()), rows = x.shape().product(0, 3);
    const T* in = x.data<T>();
    T* out = c.output(0, x.shape()).template data<T>();
    T* squares = static_cast<T*>(c.scratch(2 * static_cast<size_t>(n) * sizeof(T)));
    T* norms = squares + n;
    for (int64_t r = 0; r < rows; ++r, in += n, out += n) {
      norms_of(a, in, n, squares, norms);
      for (int64_t k = 0; k < n; ++k) out[k] = in[k] * math::pow(norms[k], -a.beta);
    }
  };
}

template <class T>
Kernel lrn_grad(const Node& node) {
  return [a = Attrs<T>(node)](Context& c) {
    const Tensor &dy = c.input(0), &x = c.input(1), &y = c.input(2);
    check(dy.shape() == x.shape() && y.shape() == x.shape(), "[LRNGrad] all inputs must have one shape: got ",
          dy.shape(), ", ", x.shape(), " and ", y.shape());
    const int64_t n = channels_of(c, x.shape()), rows = x.shape().product(0, 3);
    const T *grad = dy.data<T>(), *in = x.data<T>(), *result = y.data<T>();
    T* out = c.output(0, x.shape()).template data<T>();
    T* terms = static_cast<T*>(c.scratch(3 * static_cast<size_t>(n) * sizeof(T)));
    T *norms = terms + n, *spread = norms + n;
    for (int64_t r = 0; r < rows; ++r, grad += n, in += n, result += n, out += n) {
      norms_of(a, in, n, terms, norms);
      for (int64_t k = 0; k < n; ++k) terms[k] = grad[k] * result[k] / norms[k];
      sum_near(terms, n, a.radius, spread);
      for (int64_t k = 0; k < n; ++k)
        out[k] = grad[k] * math::pow(norms[k], -a.beta) - T(2) * a.alpha * a.beta * in[k] * spread[k];
    }
  };
}

RF_KERNEL("LRN", lrn, float, double)
RF_KERNEL("LRNGrad", lrn_grad, float, double)

}  // namespace
}  // namespace rf
