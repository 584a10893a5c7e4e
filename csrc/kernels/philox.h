// Philox4x32-10, a counter-based generator: block i of a stream is a function of (key, i) alone, so any part of a
// stream can be made in any order. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011, section 4.3. Known answer for key 0 and counter 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
#pragma once

#include <cstdint>

namespace rf {

struct Philox {
  uint32_t key[2];
  uint32_t high[2];  // upper half of the counter

  // Seeds in the manner of TensorFlow: one is the key, the other the upper half of the counter.
  Philox(uint64_t seed, uint64_t seed2)
      : key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
        high{static_cast<uint32_t>(seed2), static_cast<uint32_t>(seed2 >> 32)} {}

  // Block `index`: four words.
  void block(uint64_t index, uint32_t out[4]) const {
    uint32_t c0 = static_cast<uint32_t>(index), c1 = static_cast<uint32_t>(index >> 32), c2 = high[0], c3 = high[1];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      const uint64_t p = uint64_t{0xd2511f53u} * c0, q = uint64_t{0xcd9e8d57u} * c2;
      c0 = static_cast<uint32_t>(q >> 32) ^ c1 ^ k0;
      c1 = static_cast<uint32_t>(q);
      c2 = static_cast<uint32_t>(p >> 32) ^ c3 ^ k1;
      c3 = static_cast<uint32_t>(p);
      k0 += 0x9e3779b9u;
      k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
  }

  // `groups` groups of kGroup blocks from block `index` on, on the vector unit: word w of block index + g * kGroup + l is
  // out[(g * 4 + w) * kGroup + l].
  static constexpr int kGroup = 16;
  void fill(uint64_t index, int64_t groups, uint32_t* out) const;
};

}  // namespace rf
