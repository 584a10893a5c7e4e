// Run-time dispatch of hot loops to the widest vector unit, from one source.
//
// `vectorised([&] { for (...) out[i] = f(a[i]); })` compiles the loop once per instruction set (everything it
// calls is inlined by `flatten`) and runs the best one that this processor has. The loop must be plain
// code that the compiler can vectorise: no calls into libm, no branches that leave the loop.
// The whole extension is otherwise built for the baseline processor, so one wheel serves a mixed cluster.
// Where the shape of a loop follows from the registers (tile.cc, winograd_transform.cc) it is written with `Vector` and
// instantiated under RF_AVX2 and RF_AVX512.
#pragma once

#define RF_ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__)
#define RF_AVX2 __attribute__((target("avx2,fma,bmi2,f16c")))
#define RF_AVX512 \
  __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi2,f16c,prefer-vector-width=512")))
#endif

namespace rf {

enum class Isa { Baseline, Avx2, Avx512 };

// The widest instruction set that this processor and RINGFLOW_ISA allow. Read once.
Isa isa();
const char* name_of(Isa isa);
// Caps isa(); called once at import with the value of RINGFLOW_ISA ("baseline", "avx2", "avx512").
void limit_isa(Isa most);

// A vector register of the compiler's: Lanes elements, at any address of an element.
template <class T, int Lanes>
struct Vector {
  typedef T type __attribute__((vector_size(Lanes * sizeof(T)), aligned(sizeof(T)), may_alias));
};

#if defined(__x86_64__)

namespace detail {
template <class F>
RF_AVX512 __attribute__((flatten, noinline)) void run_avx512(F& f) {
  f();
}
template <class F>
RF_AVX2 __attribute__((flatten, noinline)) void run_avx2(F& f) {
  f();
}
template <class F>
__attribute__((noinline)) void run_baseline(F& f) {
  f();
}
}  // namespace detail

template <class F>
inline void vectorised(F&& f) {
  switch (isa()) {
    case Isa::Avx512: return detail::run_avx512(f);
    case Isa::Avx2: return detail::run_avx2(f);
    default: return detail::run_baseline(f);
  }
}

#else  // NEON and others: the baseline already has the vector unit

template <class F>
inline void vectorised(F&& f) {
  f();
}

#endif

}  // namespace rf
