// LRN and LRNGrad: local response normalization over the last dimension. Source: Krizhevsky et al., NIPS 2012, 3.3.
//
// Pixel by pixel, vectors along the channels. What is summed over neighbours lies between zeros, so that no sum ends early.
// Threads share the pixels.
#include <algorithm>
#include <cmath>

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

// n^-beta, for the exponents that are used. Others by way of the logarithm, whose rounding the exponential enlarges by
// beta log n; whole ones by libm, for of a negative n they are numbers.
struct Reciprocal {
  template <class T>
  T operator()(T n) const {
    return T(1) / n;
  }
};
struct ReciprocalRoot {
  template <class T>
  T operator()(T n) const {
    return T(1) / math::sqrt(n);
  }
};
struct ThreeQuarters {
  template <class T>
  T operator()(T n) const {
    const T root = math::sqrt(n);
    return T(1) / (root * math::sqrt(root));
  }
};
template <class T>
struct AnyPower {
  T beta;
  T operator()(T n) const { return math::exp(-beta * math::log(n)); }
};
template <class T>
struct WholePower {
  T beta;
  T operator()(T n) const { return math::pow(n, -beta); }
};

template <class T, class F>
void visit_power(T beta, const F& f) {
  if (beta == T(0.5)) return f(ReciprocalRoot{});
  if (beta == T(0.75)) return f(ThreeQuarters{});
  if (beta == T(1)) return f(Reciprocal{});
  if (beta == std::floor(beta)) return f(WholePower<T>{beta});
  f(AnyPower<T>{beta});
}

// sums[k] = terms[k] + ... + terms[k + count - 1] for k < kSums.
template <int kSums, class T>
inline void sum_block(const T* terms, int64_t count, T* sums) {
  T acc[kSums] = {};
  for (int64_t d = 0; d < count; ++d)
    for (int l = 0; l < kSums; ++l) acc[l] += terms[d + l];
  for (int l = 0; l < kSums; ++l) sums[l] = acc[l];
}

// The memory of a pixel: what is summed, and the sums, in whole vectors.
template <class T>
struct Neighbours {
  static constexpr int64_t kFew = 64 / sizeof(T), kMany = 256 / sizeof(T);
  int64_t radius, padded;

  // With a larger radius than channels nothing more is summed.
  Neighbours(int64_t most, int64_t channels)
      : radius(std::min(most, std::max<int64_t>(channels - 1, 0))), padded((channels + kFew - 1) / kFew * kFew) {}
  int64_t memory() const { return padded + 2 * radius; }

  // sums[k] = the sum of the terms at most `radius` from k; `terms`: from the one at -radius on.
  void sum(const T* terms, T* sums) const {
    int64_t k = 0;
    for (; k + kMany <= padded; k += kMany) sum_block<kMany>(terms + k, 2 * radius + 1, sums + k);
    for (; k < padded; k += kFew) sum_block<kFew>(terms + k, 2 * radius + 1, sums + k);
  }
};

// norms = bias + alpha * sum of x^2 nearby. `squares` lie between zeros.
template <class T>
inline void norms_of(const Attrs<T>& a, const Neighbours<T>& near, const T* x, int64_t n, T* squares, T* norms) {
  for (int64_t k = 0; k < n; ++k) squares[near.radius + k] = x[k] * x[k];
  near.sum(squares, norms);
  for (int64_t k = 0; k < n; ++k) norms[k] = a.bias + a.alpha * norms[k];
}

int64_t channels_of(const Context& c, const Shape& s) {
  check(s.rank() == 4, "[", c.node().op, "] images must be (batch, height, width, channels): got shape ", s);
  return s[3];
}

// Calls f(first pixel, past the last, memory) on parts of the pixels; `memory` holds `vectors` times near.memory() zeros.
template <class T, class F>
void for_pixels(Context& c, int64_t pixels, int64_t channels, const Neighbours<T>& near, int64_t vectors, const F& f) {
  const int64_t size = vectors * near.memory();
  T* const memory = static_cast<T*>(c.scratch(static_cast<size_t>(size * intra_op_threads()) * sizeof(T)));
  parallel_for(pixels, 1 + kParallelGrain / 8 / (channels + 1), [&](int64_t begin, int64_t end, int part) {
    std::fill_n(memory + part * size, size, T(0));
    f(begin, end, memory + part * size);
  });
}

template <class T>
Kernel lrn(const Node& node) {
  return [a = Attrs<T>(node)](Context& c) {
    const Tensor& x = c.input(0);
    const int64_t n = channels_of(c, x.shape());
    const T* in = x.data<T>();
    T* out = c.output(0, x.shape()).template data<T>();
    const Neighbours<T> near(a.radius, n);
    for_pixels(c, x.shape().product(0, 3), n, near, 2, [&](int64_t begin, int64_t end, T* squares) {
      T* const norms = squares + near.memory();
      visit_power(a.beta, [&](auto power) {
        run_loop<T>([=] {
          for (int64_t r = begin; r < end; ++r) {
            const T* x = in + r * n;
            T* y = out + r * n;
            norms_of(a, near, x, n, squares, norms);
#pragma GCC ivdep
            for (int64_t k = 0; k < n; ++k) y[k] = x[k] * power(norms[k]);
          }
        });
      });
    });
  };
}

template <class T>
Kernel lrn_grad(const Node& node) {
  return [a = Attrs<T>(node)](Context& c) {
    const Tensor &dy = c.input(0), &x = c.input(1), &y = c.input(2);
    check(dy.shape() == x.shape() && y.shape() == x.shape(), "[LRNGrad] all inputs must have one shape: got ",
          dy.shape(), ", ", x.shape(), " and ", y.shape());
    const int64_t n = channels_of(c, x.shape());
    const T *grads = dy.data<T>(), *images = x.data<T>(), *results = y.data<T>();
    T* out = c.output(0, x.shape()).template data<T>();
    const Neighbours<T> near(a.radius, n);
    for_pixels(c, x.shape().product(0, 3), n, near, 3, [&](int64_t begin, int64_t end, T* terms) {
      T *const norms = terms + near.memory(), *const spread = norms + near.memory();
      visit_power(a.beta, [&](auto power) {
        run_loop<T>([=] {
          for (int64_t r = begin; r < end; ++r) {
            const T *grad = grads + r * n, *in = images + r * n, *result = results + r * n;
            T* dx = out + r * n;
            norms_of(a, near, in, n, terms, norms);
            for (int64_t k = 0; k < n; ++k) terms[near.radius + k] = grad[k] * result[k] / norms[k];
            near.sum(terms, spread);
#pragma GCC ivdep
            for (int64_t k = 0; k < n; ++k)
              dx[k] = grad[k] * power(norms[k]) - T(2) * a.alpha * a.beta * in[k] * spread[k];
          }
        });
      });
    });
  };
}

RF_KERNEL("LRN", lrn, float, double)
RF_KERNEL("LRNGrad", lrn_grad, float, double)

}  // namespace
}  // namespace rf
