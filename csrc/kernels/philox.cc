// Many blocks at a time. A vector has 64-bit lanes, each with a word of the state in its lower half; what is in the upper
// half is ignored by the multiplication, which reads 32 bits and writes 64, so nothing is moved between lanes but at the end.
#include "kernels/philox.h"

#include <utility>

#include "base/simd.h"

namespace rf {
namespace {

template <int Lanes>
using Words = typename Vector<uint64_t, Lanes>::type;

// p = the 64-bit products of the lower halves of a and b. The compiler has no expression that it turns into this one
// instruction, and a builtin would need a copy of all that follows for each instruction set.
template <class V>
RF_ALWAYS_INLINE void multiply(const V& a, const V& b, V& p) {
#if defined(__x86_64__)
  if constexpr (sizeof(V) == 16) {
    p = a;
    __asm__("pmuludq %1, %0" : "+x"(p) : "x"(b));
  } else {
    __asm__("vpmuludq %2, %1, %0" : "=v"(p) : "v"(a), "v"(b));
  }
#else
  p = (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

// The lower halves of the lanes of a, then of b.
template <int Lanes, int... I>
RF_ALWAYS_INLINE void store_lower(const Words<Lanes>& a, const Words<Lanes>& b, uint32_t* out,
                                  std::integer_sequence<int, I...>) {
  using Halves = typename Vector<uint32_t, 2 * Lanes>::type;
  constexpr Halves even = {2 * I...};
  *reinterpret_cast<Halves*>(out) = __builtin_shuffle(Halves(a), Halves(b), even);
}

template <int Lanes>
RF_ALWAYS_INLINE void fill_groups(const Philox& generator, uint64_t index, int64_t groups, uint32_t* out) {
  constexpr int vectors = 2;
  using V = Words<Lanes>;
  uint64_t keys[10][2];
  for (uint32_t i = 0; i < 10; ++i) {
    keys[i][0] = generator.key[0] + i * 0x9e3779b9u;
    keys[i][1] = generator.key[1] + i * 0xbb67ae85u;
  }
  V steps;
  for (int l = 0; l < Lanes; ++l) steps[l] = static_cast<uint64_t>(l);
  const V first = V{} + 0xd2511f53u, second = V{} + 0xcd9e8d57u;
  for (int64_t g = 0; g < groups; ++g, out += 4 * Philox::kGroup)
    for (int l = 0; l < Philox::kGroup; l += vectors * Lanes, index += vectors * Lanes) {
      V c[vectors][4];
      for (int v = 0; v < vectors; ++v) {
        c[v][0] = steps + (index + static_cast<uint64_t>(v * Lanes));
        c[v][1] = c[v][0] >> 32;
        c[v][2] = V{} + generator.high[0];
        c[v][3] = V{} + generator.high[1];
      }
#pragma GCC unroll 10
      for (int round = 0; round < 10; ++round)
        for (int v = 0; v < vectors; ++v) {
          V p, q;
          multiply(first, c[v][0], p);
          multiply(second, c[v][2], q);
          c[v][0] = (q >> 32) ^ c[v][1] ^ keys[round][0];
          c[v][1] = q;
          c[v][2] = (p >> 32) ^ c[v][3] ^ keys[round][1];
          c[v][3] = p;
        }
      for (int w = 0; w < 4; ++w)
        store_lower<Lanes>(c[0][w], c[1][w], out + w * Philox::kGroup + l, std::make_integer_sequence<int, 2 * Lanes>{});
    }
}

#if defined(__x86_64__)
RF_AVX2 void fill_avx2(const Philox& generator, uint64_t index, int64_t groups, uint32_t* out) {
  fill_groups<4>(generator, index, groups, out);
}
RF_AVX512 void fill_avx512(const Philox& generator, uint64_t index, int64_t groups, uint32_t* out) {
  fill_groups<8>(generator, index, groups, out);
}
#endif

}  // namespace

void Philox::fill(uint64_t index, int64_t groups, uint32_t* out) const {
#if defined(__x86_64__)
  if (isa() == Isa::Avx512) return fill_avx512(*this, index, groups, out);
  if (isa() == Isa::Avx2) return fill_avx2(*this, index, groups, out);
#endif
  fill_groups<2>(*this, index, groups, out);
}

}  // namespace rf
