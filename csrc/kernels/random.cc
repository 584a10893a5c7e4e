// RandomUniform, RandomUniformInt, RandomStandardNormal, TruncatedNormal, RandomShuffle, Multinomial.
//
// Statistics are TensorFlow's, the numbers are not. Uniforms have 23 (float32) or 52 bits, in [0, 1). Normals come by
// Box and Muller's transform, truncated ones by inversion of the distribution function: no draw is ever rejected, so
// the cost and the length of the stream depend on the shape alone.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/axes.h"
#include "kernels/elementwise.h"
#include "kernels/random_stream.h"

namespace rf {
namespace {

constexpr int kLanes = Philox::kGroup;

// [0, 1) and (0, 1]
inline float unit(uint32_t u) { return math::from_bits((u >> 9) | 0x3f800000u) - 1.0f; }
inline float unit_above_0(uint32_t u) { return 1.0f - unit(u); }
inline double unit(uint32_t high, uint32_t low) {
  return math::from_bits((uint64_t{high} << 20 | low >> 12) | 0x3ff0000000000000u) - 1.0;
}

// cos and sin of 2 pi t for t in [0, 1): the quadrant by rounding, then minimax polynomials on [-1/8, 1/8] turns.
inline void cos_sin_turns(float t, float& cosine, float& sine) {
  const float quadrant = math::floor(t * 4.0f + 0.5f);
  const float x = t * 2.0f - quadrant * 0.5f, z = x * x;  // in half turns, |x| <= 1/4
  const float s = x * (((-5.878129916e-01f * z + 2.549628894e+00f) * z - 5.167703505e+00f) * z + 3.141592610e+00f);
  const float c =
      (((2.313297096e-01f * z - 1.335044564e+00f) * z + 4.058707263e+00f) * z - 4.934802163e+00f) * z + 1.0f;
  const bool odd = (quadrant == 1.0f) | (quadrant == 3.0f);
  const float a = odd ? s : c, b = odd ? c : s;
  cosine = (quadrant == 1.0f) | (quadrant == 2.0f) ? -a : a;
  sine = (quadrant == 2.0f) | (quadrant == 3.0f) ? -b : b;
}

// The standard normal deviate, cut at 2, whose distribution function is u in [0, 1). With p = erf(x / sqrt 2) and
// w = -log(1 - p^2), x / p is nearly a polynomial in w.
inline float truncated_normal(float u) {
  const float p = (u * 2.0f - 1.0f) * 0.954499736f;  // erf(sqrt 2): two standard deviations
  const float w = -math::log(1.0f - p * p);
  float q = -3.57231605e-07f;
  q = q * w - 1.55966810e-06f;
  q = q * w + 5.46782652e-05f;
  q = q * w - 1.37500026e-04f;
  q = q * w - 2.32924624e-03f;
  q = q * w + 1.15475925e-02f;
  q = q * w + 2.32013863e-01f;
  q = q * w + 8.86226922e-01f;
  const float x = p * q * 1.41421356f;
  return x > 2.0f ? 2.0f : x < -2.0f ? -2.0f : x;
}

// Each distribution turns the words of kLanes blocks into kLanes * kPerBlock values of one type.
struct UniformFloat {
  using Value = float;
  static constexpr int kPerBlock = 4;
  void operator()(const uint32_t* w, float* y) const {
    for (int i = 0; i < 4 * kLanes; ++i) y[i] = unit(w[i]);
  }
};
struct UniformDouble {
  using Value = double;
  static constexpr int kPerBlock = 2;
  void operator()(const uint32_t* w, double* y) const {
    for (int i = 0; i < 2 * kLanes; ++i) y[i] = unit(w[i], w[2 * kLanes + i]);
  }
};
struct NormalFloat {
  using Value = float;
  static constexpr int kPerBlock = 4;
  void operator()(const uint32_t* w, float* y) const {
    for (int i = 0; i < 2 * kLanes; ++i) {
      const float radius = math::sqrt(-2.0f * math::log(unit_above_0(w[i])));
      float cosine, sine;
      cos_sin_turns(unit(w[2 * kLanes + i]), cosine, sine);
      y[i] = radius * cosine;
      y[2 * kLanes + i] = radius * sine;
    }
  }
};
struct NormalDouble {
  using Value = double;
  static constexpr int kPerBlock = 2;
  void operator()(const uint32_t* w, double* y) const {
    for (int i = 0; i < kLanes; ++i) {
      const double radius = std::sqrt(-2.0 * std::log(1.0 - unit(w[i], w[kLanes + i])));
      const double angle = 6.283185307179586 * unit(w[2 * kLanes + i], w[3 * kLanes + i]);
      y[i] = radius * std::cos(angle);
      y[kLanes + i] = radius * std::sin(angle);
    }
  }
};
struct TruncatedFloat {
  using Value = float;
  static constexpr int kPerBlock = 4;
  void operator()(const uint32_t* w, float* y) const {
    for (int i = 0; i < 4 * kLanes; ++i) y[i] = truncated_normal(unit(w[i]));
  }
};
struct TruncatedDouble {
  using Value = double;
  static constexpr int kPerBlock = 2;
  void operator()(const uint32_t* w, double* y) const {
    for (int i = 0; i < 2 * kLanes; ++i) {
      const double p = (unit(w[i], w[2 * kLanes + i]) * 2.0 - 1.0) * 0.9544997361036416;
      double x = truncated_normal(static_cast<float>(p / 0.9544997361036416 * 0.5 + 0.5)) * 0.7071067811865476;
      x -= (std::erf(x) - p) * 0.886226925452758 * std::exp(x * x);  // a Newton step doubles the digits
      y[i] = std::min(2.0, std::max(-2.0, x * 1.4142135623730951));
    }
  }
};

template <class Distribution>
constexpr int64_t kGroup = kLanes * Distribution::kPerBlock;  // values of kLanes blocks

template <class Distribution>
int64_t groups_for(int64_t n) {
  return (n + kGroup<Distribution> - 1) / kGroup<Distribution>;
}
template <class Distribution>
int64_t blocks_for(int64_t n) {
  return groups_for<Distribution>(n) * kLanes;
}

// n values from block range.first on.
template <class Distribution>
void draw(const Distribution& distribution, const Draws::Range& range, typename Distribution::Value* y, int64_t n) {
  using T = typename Distribution::Value;
  constexpr int64_t group = kGroup<Distribution>, grain = kParallelGrain / 4 / group;
  constexpr int64_t chunk = 16;  // groups: their words stay in the first cache
  const Philox generator = range.generator;
  const uint64_t first = range.first;
  parallel_for(groups_for<Distribution>(n), grain, [=](int64_t begin, int64_t end, int) {
    uint32_t words[chunk * 4 * kLanes];
    for (int64_t g = begin; g < end; g += chunk) {
      const int64_t count = std::min(chunk, end - g);
      generator.fill(first + static_cast<uint64_t>(g * kLanes), count, words);
      vectorised([=, &words] {
        const int64_t whole = std::min(count, n / group - g);
        for (int64_t k = 0; k < whole; ++k) distribution(words + k * 4 * kLanes, y + (g + k) * group);
        if (whole == count) return;
        T values[group];
        distribution(words + whole * 4 * kLanes, values);
        std::memcpy(y + (g + whole) * group, values, static_cast<size_t>(n % group) * sizeof(T));
      });
    }
  });
}

Shape shape_input(Context& c) {
  const std::vector<int64_t> dims = int_values(c.input(0));
  return Shape(dims.begin(), dims.end());
}

template <class Distribution>
Kernel random_kernel(const Node& node) {
  return [draws = Draws(node)](Context& c) mutable {
    Tensor& y = c.output(0, shape_input(c));
    const int64_t n = y.num_elements();
    draw(Distribution(), draws.take(c, blocks_for<Distribution>(n)), y.data<typename Distribution::Value>(), n);
  };
}

template <class Float, class Double>
struct ByType {
  template <class T>
  static Kernel make(const Node& node) {
    return random_kernel<std::conditional_t<std::is_same_v<T, float>, Float, Double>>(node);
  }
};

// 64 bits a value, so that the bias of the modulus is below 2^-32 for int32.
template <class T>
Kernel uniform_int(const Node& node) {
  return [draws = Draws(node)](Context& c) mutable {
    const T low = *c.input(1).data<T>(), high = *c.input(2).data<T>();
    check(low < high, "[RandomUniformInt] minval must be less than maxval: got ", low, " and ", high);
    const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    Tensor& y = c.output(0, shape_input(c));
    const int64_t n = y.num_elements();
    const Draws::Range range = draws.take(c, (n + 1) / 2);
    T* out = y.data<T>();
    for (int64_t i = 0; i < n; i += 2) {
      uint32_t w[4];
      range.generator.block(range.first + static_cast<uint64_t>(i / 2), w);
      for (int k = 0; k < 2 && i + k < n; ++k)
        out[i + k] = static_cast<T>(static_cast<uint64_t>(low) + (uint64_t{w[2 * k]} << 32 | w[2 * k + 1]) % span);
    }
  };
}

// Rows in random order (Fisher and Yates).
Kernel shuffle(const Node& node) {
  return [draws = Draws(node)](Context& c) mutable {
    const Tensor& x = c.input(0);
    Tensor& y = c.output(0, x.shape());
    const int64_t n = x.shape().rank() ? x.dim(0) : 1;
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), int64_t{0});
    const Draws::Range range = draws.take(c, n);
    for (int64_t i = n - 1; i > 0; --i) {
      uint32_t w[4];
      range.generator.block(range.first + static_cast<uint64_t>(i), w);
      const uint64_t j = (uint64_t{w[0]} << 32 | w[1]) % static_cast<uint64_t>(i + 1);
      std::swap(order[static_cast<size_t>(i)], order[j]);
    }
    const size_t bytes = n ? x.bytes() / static_cast<size_t>(n) : 0;
    for (int64_t i = 0; i < n; ++i)
      std::memcpy(static_cast<char*>(y.raw()) + static_cast<size_t>(i) * bytes,
                  static_cast<const char*>(x.raw()) + static_cast<size_t>(order[static_cast<size_t>(i)]) * bytes, bytes);
  };
}

// Classes drawn from unnormalised log probabilities (batch, classes), by bisection of the cumulative sums.
template <class T>
Kernel multinomial(const Node& node) {
  return [draws = Draws(node)](Context& c) mutable {
    const Tensor& logits = c.input(0);
    check(logits.shape().rank() == 2 && logits.dim(1) > 0, "[Multinomial] logits must be (batch, classes): got ",
          logits.shape());
    const int64_t rows = logits.dim(0), n = logits.dim(1), samples = int_scalar(c, 1);
    Tensor& y = c.output(0, {rows, samples});
    std::vector<double> cumulative(static_cast<size_t>(n)), u(static_cast<size_t>(samples));
    const int64_t blocks = blocks_for<UniformDouble>(samples);
    const Draws::Range range = draws.take(c, rows * blocks);
    visit_index(y.dtype(), [&](auto tag) {
      auto* out = y.data<typename decltype(tag)::type>();
      for (int64_t r = 0; r < rows; ++r) {
        const T* row = logits.data<T>() + r * n;
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < n; ++j) most = std::max(most, static_cast<double>(row[j]));
        check(std::isfinite(most), "[Multinomial] row ", r, " of logits must have a finite maximum: got ", most);
        for (int64_t j = 0; j < n; ++j) cumulative[static_cast<size_t>(j)] = sum += std::exp(row[j] - most);
        draw(UniformDouble(), {range.generator, range.first + static_cast<uint64_t>(r * blocks)}, u.data(), samples);
        for (int64_t s = 0; s < samples; ++s) {
          const auto at = std::upper_bound(cumulative.begin(), cumulative.end(), u[static_cast<size_t>(s)] * sum);
          *out++ = static_cast<typename decltype(tag)::type>(std::min<int64_t>(at - cumulative.begin(), n - 1));
        }
      }
    });
  };
}

using Uniform = ByType<UniformFloat, UniformDouble>;
using Normal = ByType<NormalFloat, NormalDouble>;
using Truncated = ByType<TruncatedFloat, TruncatedDouble>;
RF_KERNEL_BY("RandomUniform", "dtype", Uniform::make, float, double)
RF_KERNEL_BY("RandomStandardNormal", "dtype", Normal::make, float, double)
RF_KERNEL_BY("TruncatedNormal", "dtype", Truncated::make, float, double)
RF_KERNEL_BY("RandomUniformInt", "Tout", uniform_int, int32_t, int64_t)
RF_KERNEL_ANY("RandomShuffle", None, shuffle)
RF_KERNEL("Multinomial", multinomial, float, double)

}  // namespace
}  // namespace rf
