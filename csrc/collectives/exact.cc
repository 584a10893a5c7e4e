#include "collectives/exact.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/simd.h"

namespace rf::exact {
namespace {

template <class T>
struct Format;
template <>
struct Format<float> {
  using Bits = int32_t;
  static constexpr int kMantissa = 23, kBias = 127, kFixedBits = 31;
};
template <>
struct Format<double> {
  using Bits = int64_t;
  static constexpr int kMantissa = 52, kBias = 1023, kFixedBits = 63;
};

template <class T>
constexpr typename Format<T>::Bits kInfinity =
    typename Format<T>::Bits{2 * Format<T>::kBias + 1} << Format<T>::kMantissa;

template <class T>
inline typename Format<T>::Bits magnitude(T x) {
  typename Format<T>::Bits bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & std::numeric_limits<typename Format<T>::Bits>::max();
}

// Bits of magnitude that every value of a block may fill: L of them must fit into kFixedBits.
template <class T>
int bits_for(int total_shards) {
  int log2 = 0;
  while ((1 << log2) < total_shards) ++log2;
  return Format<T>::kFixedBits - log2;
}

// k for `bits` in the block whose largest exponent is `exponent`, which means |x| < 2^(exponent - bias + 1).
template <class T>
inline int scale_of(int32_t exponent, int bits) {
  return bits - (exponent - Format<T>::kBias + 1);
}

template <class T>
inline T power_of_2(int k) {
  const auto bits = static_cast<typename Format<T>::Bits>(k + Format<T>::kBias) << Format<T>::kMantissa;
  T power;
  std::memcpy(&power, &bits, sizeof power);
  return power;
}

// 2^k as two factors, each a normal number.
template <class T>
struct Power {
  T first, second;
  explicit Power(int k) : first(power_of_2<T>(k / 2)), second(power_of_2<T>(k - k / 2)) {}
};

// The integer nearest to x * 2^k, ties to even, `most` in magnitude at most. Zero for what is not a normal number.
template <class T>
inline typename Fixed<T>::type to_fixed(T x, T first, T second, T most) {
  const auto bits = magnitude(x);
  const bool normal = (bits >= (typename Format<T>::Bits{1} << Format<T>::kMantissa)) & (bits < kInfinity<T>);
  const T scaled = (normal ? (x < T(0) ? -x : x) : T(0)) * first * second;
  const T a = scaled < most ? scaled : most;
  constexpr T shift = static_cast<T>(int64_t{1} << Format<T>::kMantissa);  // above it every value is an integer
  const T rounded = (a + shift) - shift;
  const auto n = static_cast<typename Fixed<T>::type>(a < shift ? rounded : a);
  return x < T(0) ? -n : n;
}

}  // namespace

template <class T>
void raise_maxima(const T* x, int64_t count, int32_t* exponents, int32_t* flags) {
  using Bits = typename Format<T>::Bits;
  vectorised([=] {
    for (int64_t begin = 0, b = 0; begin < count; begin += kBlock, ++b) {
      const T* block = x + begin;
      const int64_t n = count - begin < kBlock ? count - begin : kBlock;
      Bits most = 0;
      for (int64_t i = 0; i < n; ++i) {
        const Bits m = magnitude(block[i]);
        most = m > most ? m : most;
      }
      if (most >= kInfinity<T>) {
        flags[b] = 1;
        most = 0;
        for (int64_t i = 0; i < n; ++i) {
          const Bits m = magnitude(block[i]);
          most = (m > most) & (m < kInfinity<T>) ? m : most;
        }
      }
      const int32_t exponent = static_cast<int32_t>(most >> Format<T>::kMantissa);
      exponents[b] = exponent > exponents[b] ? exponent : exponents[b];
    }
  });
}

template <class T>
void add(const T* const* shards, int num, int64_t count, const int32_t* exponents, int total_shards,
         typename Fixed<T>::type* sums) {
  const int bits = bits_for<T>(total_shards);
  // Where the mantissa has bits below the unit the largest values would round up to 2^bits. Elsewhere this is 2^bits,
  // which no value reaches.
  const T most = static_cast<T>((uint64_t{1} << bits) - 1);
  for (int64_t begin = 0, b = 0; begin < count; begin += kBlock, ++b) {
    const int64_t n = std::min(kBlock, count - begin);
    const Power<T> power(scale_of<T>(exponents[b], bits));
    const T first = power.first, second = power.second;
    auto* sum = sums + begin;
    vectorised([=] {  // the block of sums stays in the first-level cache from shard to shard
      const T* x = shards[0] + begin;
      for (int64_t i = 0; i < n; ++i) sum[i] = to_fixed(x[i], first, second, most);
      for (int s = 1; s < num; ++s) {
        x = shards[s] + begin;
        for (int64_t i = 0; i < n; ++i) sum[i] += to_fixed(x[i], first, second, most);
      }
    });
  }
}

template <class T>
void mean(const typename Fixed<T>::type* sums, int64_t count, const int32_t* exponents, int total_shards, T* out) {
  const double inverse = 1.0 / total_shards;
  const int bits = bits_for<T>(total_shards);
  for (int64_t begin = 0, b = 0; begin < count; begin += kBlock, ++b) {
    const int64_t n = std::min(kBlock, count - begin);
    const Power<double> power(-scale_of<T>(exponents[b], bits));
    const double first = power.first, second = power.second;
    const auto* sum = sums + begin;
    T* y = out + begin;
    vectorised([=] {
      constexpr double smallest = std::numeric_limits<T>::min();
      for (int64_t i = 0; i < n; ++i) {
        const double m = static_cast<double>(sum[i]) * inverse * first * second;
        y[i] = (m < smallest) & (m > -smallest) ? T(0) : static_cast<T>(m);
      }
    });
  }
}

namespace {
constexpr int32_t kPlusInfinity = 1, kMinusInfinity = 1 << 16;  // counts of up to kMostShards side by side
}

template <class T>
void classify(const T* const* shards, int num, int64_t count, int32_t* codes) {
  std::fill(codes, codes + count, 0);
  for (int s = 0; s < num; ++s)
    for (int64_t i = 0; i < count; ++i) {
      const T x = shards[s][i];
      if (magnitude(x) < kInfinity<T>) continue;
      const bool nan = magnitude(x) > kInfinity<T>;
      codes[i] += (nan || x > T(0) ? kPlusInfinity : 0) + (nan || x < T(0) ? kMinusInfinity : 0);
    }
}

template <class T>
void mark(const int32_t* codes, int64_t count, T* out) {
  for (int64_t i = 0; i < count; ++i) {
    if (codes[i] == 0) continue;
    const bool plus = codes[i] % kMinusInfinity != 0, minus = codes[i] / kMinusInfinity != 0;
    constexpr T infinity = std::numeric_limits<T>::infinity();
    out[i] = plus && minus ? std::numeric_limits<T>::quiet_NaN() : plus ? infinity : -infinity;
  }
}

#define RF_EXACT(T)                                                                                  \
  template void raise_maxima(const T*, int64_t, int32_t*, int32_t*);                                 \
  template void add(const T* const*, int, int64_t, const int32_t*, int, Fixed<T>::type*);            \
  template void mean(const Fixed<T>::type*, int64_t, const int32_t*, int, T*);                       \
  template void classify(const T* const*, int, int64_t, int32_t*);                                   \
  template void mark(const int32_t*, int64_t, T*);
RF_EXACT(float)
RF_EXACT(double)
#undef RF_EXACT

}  // namespace rf::exact
