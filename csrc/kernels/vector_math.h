// exp, log, tanh and friends as branch-free straight-line code, so that a loop that calls them vectorises.
//
// Errors measured against libm in double: see tests. Infinities, NaN and overflow give what libm gives; results below
// the smallest normal number may be flushed to zero. The polynomials are minimax fits (Remez exchange) of our own;
// the range reductions are the usual two-part ln 2 (Cody and Waite) and the "add 1.5 * 2^p" rounding, which needs no
// conversion instruction. Nothing here needs a standard header: a back end with its own `rf::math` can replace it.
#pragma once

#include "base/half.h"

namespace rf::math {

// ---- bits ----
inline uint32_t bits_of(float x) { return detail::bits_of(x); }
inline float from_bits(uint32_t u) { return detail::float_of(u); }
inline uint64_t bits_of(double x) {
  uint64_t u;
  __builtin_memcpy(&u, &x, 8);
  return u;
}
inline double from_bits(uint64_t u) {
  double x;
  __builtin_memcpy(&x, &u, 8);
  return x;
}

template <class T>
constexpr T infinity = T(__builtin_inf());
template <class T>
constexpr T nan = T(__builtin_nan(""));
template <class T>
constexpr bool is_real = T(0.5) != T(0);  // false for integers and bool

// ---- one instruction each ----
inline float sqrt(float x) { return __builtin_sqrtf(x); }
inline double sqrt(double x) { return __builtin_sqrt(x); }
inline float floor(float x) { return __builtin_floorf(x); }
inline double floor(double x) { return __builtin_floor(x); }
inline float ceil(float x) { return __builtin_ceilf(x); }
inline double ceil(double x) { return __builtin_ceil(x); }
inline float round_half_even(float x) { return __builtin_rintf(x); }
inline double round_half_even(double x) { return __builtin_rint(x); }
inline float abs(float x) { return __builtin_fabsf(x); }
inline double abs(double x) { return __builtin_fabs(x); }
inline float copysign(float x, float sign) {
  return from_bits((bits_of(x) & 0x7fffffffu) | (bits_of(sign) & 0x80000000u));
}
inline double copysign(double x, double sign) {
  return from_bits((bits_of(x) & 0x7fffffffffffffffu) | (bits_of(sign) & 0x8000000000000000u));
}

// ---- libm: exact to the last bit or nearly, but a call for each element ----
inline float pow(float x, float y) { return __builtin_powf(x, y); }
inline double pow(double x, double y) { return __builtin_pow(x, y); }
inline float sin(float x) { return __builtin_sinf(x); }
inline double sin(double x) { return __builtin_sin(x); }
inline float cos(float x) { return __builtin_cosf(x); }
inline double cos(double x) { return __builtin_cos(x); }
inline float fmod(float x, float y) { return __builtin_fmodf(x, y); }
inline double fmod(double x, double y) { return __builtin_fmod(x, y); }

// x = n ln 2 + r with |r| <= ln 2 / 2; expm1 = e^r - 1.
template <class T>
struct Reduced;

template <>
struct Reduced<float> {
  int32_t n;
  float expm1;

  explicit Reduced(float x) {
    const float shift = 12582912.0f;  // 1.5 * 2^23: the sum's low bits hold the rounded integer
    const float t = x * 1.44269504f + shift;
    n = static_cast<int32_t>(bits_of(t) - bits_of(shift));
    const float k = t - shift;
    const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    const float p = (((1.381458041e-03f * r + 8.368725003e-03f) * r + 4.166838886e-02f) * r + 1.666652057e-01f) * r +
                    4.999999344e-01f;
    expm1 = (r * r) * p + r;
  }
  static float power_of_2(int32_t n) { return from_bits(static_cast<uint32_t>(n + 127) << 23); }
};

template <>
struct Reduced<double> {
  int64_t n;
  double expm1;

  explicit Reduced(double x) {
    const double shift = 6755399441055744.0;  // 1.5 * 2^52
    const double t = x * 1.4426950408889634 + shift;
    n = static_cast<int64_t>(bits_of(t) - bits_of(shift));
    const double k = t - shift;
    const double r = (x - k * 0.693145751953125) - k * 1.42860682030941723212e-6;
    double p = 2.08266478322940381e-09;
    p = p * r + 2.51120505121180418e-08;
    p = p * r + 2.75575818589822665e-07;
    p = p * r + 2.75572348236150857e-06;
    p = p * r + 2.48015869265124728e-05;
    p = p * r + 1.98412698964211241e-04;
    p = p * r + 1.38888888891157587e-03;
    p = p * r + 8.33333333331701988e-03;
    p = p * r + 4.16666666666660954e-02;
    p = p * r + 1.66666666666666824e-01;
    p = p * r + 0.5;
    expm1 = (r * r) * p + r;
  }
  static double power_of_2(int64_t n) { return from_bits(static_cast<uint64_t>(n + 1023) << 52); }
};

template <class T>
struct Range;
template <>
struct Range<float> {
  static constexpr float exp_low = -104.0f, exp_high = 89.0f;
  static constexpr float exp_normal_low = -87.0f, exp_normal_high = 88.0f;  // between these 2^n is a normal number
  static constexpr float expm1_low = -20.0f, tanh_high = 9.5f;
  static constexpr float smallest = 1.17549435e-38f;
};
template <>
struct Range<double> {
  static constexpr double exp_low = -746.0, exp_high = 710.0;
  static constexpr double exp_normal_low = -708.0, exp_normal_high = 709.0;
  static constexpr double expm1_low = -40.0, tanh_high = 20.0;
  static constexpr double smallest = 2.2250738585072014e-308;
};

template <class T>
inline T exp(T x) {
  x = x < Range<T>::exp_low ? Range<T>::exp_low : x;  // NaN passes both
  x = x > Range<T>::exp_high ? Range<T>::exp_high : x;
  const Reduced<T> e(x);
  const auto half = e.n >> 1;  // 2^n in two factors: n reaches past the exponent range
  return (T(1) + e.expm1) * Reduced<T>::power_of_2(half) * Reduced<T>::power_of_2(e.n - half);
}

// e^x - 1 where 2^n is a normal number
template <class T>
inline T expm1_inside(T x) {
  const Reduced<T> e(x);
  const T scale = Reduced<T>::power_of_2(e.n);
  return scale * e.expm1 + (scale - T(1));
}

// e^x - 1 for x <= 88 (709 in double); meaningless above.
template <class T>
inline T expm1(T x) {
  return expm1_inside(x < Range<T>::expm1_low ? Range<T>::expm1_low : x);
}

// tanh a / a - 1 for a <= 0.3, z = a^2
inline float tanh_near_zero(float z) { return ((-5.037230432e-02f * z + 1.331490819e-01f) * z - 3.333306293e-01f) * z; }
inline double tanh_near_zero(double z) {
  double p = 5.02518608626e-04;
  p = p * z - 1.441677812840e-03;
  p = p * z + 3.59087731435556e-03;
  p = p * z - 8.86317101242463e-03;
  p = p * z + 2.186948659111114e-02;
  p = p * z - 5.396825393576044e-02;
  p = p * z + 1.3333333333307057e-01;
  p = p * z - 3.3333333333333261e-01;
  return p * z;
}

// (e^2a - 1) / (e^2a + 1) for a = |x|; near zero, where the rounding of the divisor would show, a polynomial
template <class T>
inline T tanh(T x) {
  T a = abs(x);
  a = a > Range<T>::tanh_high ? Range<T>::tanh_high : a;
  const T e = expm1_inside(a + a), far = e / (e + T(2)), near = a + a * tanh_near_zero(a * a);
  return copysign(a < T(0.3) ? near : far, x);
}

// 1 / (1 + e^-x). With e^-x = 2^n (1 + m) the divisor is (2^n m + 1) + 2^n: its product is exact, and so is the first sum
// where the last one is coarse.
template <class T>
inline T sigmoid(T x) {
  T y = -x;
  y = y < Range<T>::exp_normal_low ? Range<T>::exp_normal_low : y;
  y = y > Range<T>::exp_normal_high ? Range<T>::exp_high : y;  // there 2^n is infinite and m positive
  const Reduced<T> e(y);
  const T scale = Reduced<T>::power_of_2(e.n);
  return T(1) / ((scale * e.expm1 + T(1)) + scale);
}

// log of a normal positive number, up to the special cases that log() adds
inline float log_normal(float x, float exponent) {
  const uint32_t u = bits_of(x);
  const int32_t n = static_cast<int32_t>(u - 0x3f3504f3u) >> 23;  // x / 2^n lies in [sqrt(1/2), sqrt(2))
  const float f = from_bits(u - (static_cast<uint32_t>(n) << 23)) - 1.0f;
  const float k = static_cast<float>(n) + exponent;
  const float z = f * f;
  float p = 6.937302672e-02f;
  p = p * f - 1.184675368e-01f;
  p = p * f + 1.188880419e-01f;
  p = p * f - 1.237748440e-01f;
  p = p * f + 1.421711659e-01f;
  p = p * f - 1.666948377e-01f;
  p = p * f + 2.000218732e-01f;
  p = p * f - 2.499998384e-01f;
  p = p * f + 3.333331404e-01f;
  const float tail = (f * z) * p - k * 2.12194440e-4f - 0.5f * z;
  return k * 0.693359375f + (f + tail);
}
inline double log_normal(double x, double exponent) {
  const uint64_t u = bits_of(x) - 0x3fe6a09e667f3bcdu + 0x3ff0000000000000u;
  // the biased exponent becomes a double by way of the low bits of 2^52: no 64-bit conversion needed
  const double k = from_bits((u >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0) + exponent;
  const double f = from_bits((u & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
  const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  double q = 1.48110440987722858e-01;
  q = q * z + 1.53131147273969426e-01;
  q = q * z + 1.81835733496707008e-01;
  q = q * z + 2.22221990592794155e-01;
  q = q * z + 2.85714287295533553e-01;
  q = q * z + 3.99999999995188482e-01;
  q = q * z + 6.66666666666670960e-01;
  return k * 6.93147180369123816490e-01 - ((half - (s * (half + z * q) + k * 1.90821492927058770002e-10)) - f);
}

template <class T>
inline T log(T x) {
  const bool small = x < Range<T>::smallest;
  const T y = log_normal(small ? x * T(0x1p54) : x, small ? T(-54) : T(0));
  const T special = x < T(0) ? nan<T> : x == T(0) ? -infinity<T> : x;  // x: +inf or NaN
  return (x > T(0)) & (x < infinity<T>) ? y : special;
}

// log(1 + x), with the rounding error of 1 + x put back
template <class T>
inline T log1p(T x) {
  const T u = T(1) + x;
  const T lost = u - T(1) - x;
  const T correction = (u > T(0)) & (u < infinity<T>) ? lost / u : T(0);
  return log(u) - correction;
}

// log(1 + e^x) without overflow: max(x, 0) + log(1 + e), e = e^-|x| in [0, 1], where log needs no special case
template <class T>
inline T softplus(T x) {
  const T e = exp(-abs(x)), u = T(1) + e;
  return (x < T(0) ? T(0) : x) + (log_normal(u, T(0)) - (u - T(1) - e) / u);
}

}  // namespace rf::math
