// FarmHash's Fingerprint64: a 64-bit hash of a string that never changes, for StringToHashBucketFast.
// Source: the published algorithm (Geoff Pike, Google, 2014), variant "na", little endian.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace rf::farmhash {

constexpr uint64_t k0 = 0xc3a5c85c97cb3127u, k1 = 0xb492b66fbe98f273u, k2 = 0x9ae16a3b2f90404fu;

inline uint64_t fetch64(const char* p) {
  uint64_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline uint32_t fetch32(const char* p) {
  uint32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline uint64_t rotate(uint64_t x, int by) { return x >> by | x << (64 - by); }
inline uint64_t shift_mix(uint64_t x) { return x ^ x >> 47; }

inline uint64_t join(uint64_t u, uint64_t v, uint64_t factor) {
  const uint64_t a = shift_mix((u ^ v) * factor);
  return shift_mix((v ^ a) * factor) * factor;
}

inline uint64_t up_to_16(const char* s, uint64_t n) {
  const uint64_t factor = k2 + n * 2;
  if (n >= 8) {
    const uint64_t a = fetch64(s) + k2, b = fetch64(s + n - 8);
    return join(rotate(b, 37) * factor + a, (rotate(a, 25) + b) * factor, factor);
  }
  if (n >= 4) return join(n + (uint64_t{fetch32(s)} << 3), fetch32(s + n - 4), factor);
  if (n == 0) return k2;
  const uint32_t a = static_cast<uint8_t>(s[0]), b = static_cast<uint8_t>(s[n >> 1]), c = static_cast<uint8_t>(s[n - 1]);
  const uint32_t y = a + (b << 8), z = static_cast<uint32_t>(n) + (c << 2);
  return shift_mix(y * k2 ^ z * k0) * k2;
}

inline uint64_t up_to_32(const char* s, uint64_t n) {
  const uint64_t factor = k2 + n * 2, a = fetch64(s) * k1, b = fetch64(s + 8);
  const uint64_t c = fetch64(s + n - 8) * factor, d = fetch64(s + n - 16) * k2;
  return join(rotate(a + b, 43) + rotate(c, 30) + d, a + rotate(b + k2, 18) + c, factor);
}

inline uint64_t up_to_64(const char* s, uint64_t n) {
  const uint64_t factor = k2 + n * 2, a = fetch64(s) * k2, b = fetch64(s + 8);
  const uint64_t c = fetch64(s + n - 8) * factor, d = fetch64(s + n - 16) * k2;
  const uint64_t y = rotate(a + b, 43) + rotate(c, 30) + d, z = join(y, a + rotate(b + k2, 18) + c, factor);
  const uint64_t e = fetch64(s + 16) * factor, f = fetch64(s + 24);
  const uint64_t g = (y + fetch64(s + n - 32)) * factor, h = (z + fetch64(s + n - 24)) * factor;
  return join(rotate(e + f, 43) + rotate(g, 30) + h, e + rotate(f + a, 18) + g, factor);
}

using Pair = std::pair<uint64_t, uint64_t>;

// 32 bytes into two words.
inline Pair mix32(const char* s, uint64_t a, uint64_t b) {
  a += fetch64(s);
  b = rotate(b + a + fetch64(s + 24), 21);
  const uint64_t c = a;
  a += fetch64(s + 8);
  a += fetch64(s + 16);
  b += rotate(a, 44);
  return {a + fetch64(s + 24), b + c};
}

inline uint64_t fingerprint64(std::string_view text) {
  const char* s = text.data();
  const uint64_t n = text.size();
  if (n <= 16) return up_to_16(s, n);
  if (n <= 32) return up_to_32(s, n);
  if (n <= 64) return up_to_64(s, n);
  constexpr uint64_t seed = 81;
  uint64_t x = seed, y = seed * k1 + 113, z = shift_mix(y * k2 + 113) * k2;
  Pair v{0, 0}, w{0, 0};
  x = x * k2 + fetch64(s);
  // a block of 64 bytes; the last one may overlap the one before
  const auto block = [&](const char* p, uint64_t factor, uint64_t nine) {
    x = rotate(x + y + v.first + fetch64(p + 8), 37) * factor;
    y = rotate(y + v.second + fetch64(p + 48), 42) * factor;
    x ^= w.second * nine;
    y += v.first * nine + fetch64(p + 40);
    z = rotate(z + w.first, 33) * factor;
    v = mix32(p, v.second * factor, x + w.first);
    w = mix32(p + 32, z + w.second, y + fetch64(p + 16));
    std::swap(z, x);
  };
  const char* const end = s + (n - 1) / 64 * 64;
  for (; s != end; s += 64) block(s, k1, 1);
  const uint64_t factor = k1 + ((z & 0xff) << 1), rest = (n - 1) & 63;
  w.first += rest;
  v.first += w.first;
  w.first += v.first;
  block(end + rest - 63, factor, 9);
  return join(join(v.first, w.first, factor) + shift_mix(y) * k0 + z, join(v.second, w.second, factor) + x, factor);
}

}  // namespace rf::farmhash
