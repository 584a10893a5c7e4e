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

  // Block `index`: four words. Straight-line code, so that a loop over blocks vectorises.
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

  // The kLanes blocks from `index` on: word w of block index + l is out[w * kLanes + l].
  template <int kLanes>
  void blocks(uint64_t index, uint32_t* out) const {
    for (int l = 0; l < kLanes; ++l) {
      uint32_t words[4];
      block(index + static_cast<uint64_t>(l), words);
      out[l] = words[0];
      out[kLanes + l] = words[1];
      out[2 * kLanes + l] = words[2];
      out[3 * kLanes + l] = words[3];
    }
  }
};

}  // namespace rf
