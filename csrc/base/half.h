// float16 and bfloat16 as storage types; arithmetic happens in float. Rounding is to nearest even.
#pragma once

#include <cstdint>
#include <cstring>

namespace rf {

namespace detail {
inline uint32_t bits_of(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}
inline float float_of(uint32_t u) {
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}
}  // namespace detail

struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  explicit BFloat16(float x) {
    uint32_t u = detail::bits_of(x);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? static_cast<uint16_t>((u >> 16) | 0x40u)
               : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  operator float() const { return detail::float_of(static_cast<uint32_t>(bits) << 16); }
};

struct Half {
  uint16_t bits = 0;

  Half() = default;
  explicit Half(float x) {
    const uint32_t u = detail::bits_of(x), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    uint32_t h;
    if (magnitude > 0x7f800000u) {
      h = 0x7e00u;  // NaN
    } else if (magnitude >= 0x477ff000u) {
      h = 0x7c00u;  // rounds to infinity
    } else if (magnitude < 0x38800000u) {
      // subnormal: adding 0.5 leaves the rounded result in the low bits
      h = detail::bits_of(detail::float_of(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      h = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    bits = static_cast<uint16_t>(sign | h);
  }
  operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return detail::float_of(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
    // 2^112 moves the exponent bias from 15 to 127, subnormals included
    return detail::float_of(sign | detail::bits_of(detail::float_of(magnitude << 13) * 0x1p112f));
  }
};

}  // namespace rf
