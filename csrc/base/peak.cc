#include "base/peak.h"

#include <utility>

#include "base/simd.h"

namespace rf {
namespace {

// As many chains as hide the latency of a multiply-add on two units; with two operands they fill 16 registers at most.
constexpr int kChains = 12;

template <int Lanes>
struct Vector {
  typedef float type __attribute__((vector_size(Lanes * sizeof(float))));
};

// A multiply-add of vectors of `Lanes` in each chain, `steps` times. The sum keeps the compiler from dropping them.
template <int Lanes, int... I>
inline __attribute__((always_inline)) float run_chains(int64_t steps, std::integer_sequence<int, I...>) {
  using V = typename Vector<Lanes>::type;
  V chain[kChains] = {}, factor = V{} + 0.5f, term = V{} + 1.0f;
  // unknown values: nothing can be computed beforehand, no chain is known to equal another
  __asm__ volatile("" : "+m"(chain), "+m"(factor), "+m"(term));
  const V a = factor, b = term;
  for (int64_t s = 0; s < steps; ++s) ((chain[I] = chain[I] * a + b), ...);
  const V sum = (chain[I] + ...);
  return sum[0];
}

template <int Lanes>
struct Chains {
  int64_t steps;
  float sum = 0;
  void operator()() { sum = run_chains<Lanes>(steps, std::make_integer_sequence<int, kChains>{}); }
};

template <int Lanes>
int64_t run(int64_t steps) {
  Chains<Lanes> chains{steps};
  vectorised(chains);
  __asm__ volatile("" : : "m"(chains.sum));
  return 2 * steps * kChains * Lanes;
}

}  // namespace

int64_t multiply_adds(int64_t steps) {
  switch (isa()) {
    case Isa::Avx512: return run<16>(steps);
    case Isa::Avx2: return run<8>(steps);
    default: return run<4>(steps);
  }
}

}  // namespace rf
