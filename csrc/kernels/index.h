// Index checks and row updates shared by the gather, scatter and segment kernels.
#pragma once

#include <type_traits>

#include "kernels/formulas.h"
#include "kernels/kernel.h"

namespace rf {

// InvalidArgument, naming the first offender, unless every index lies in [0, bound).
template <class Index>
void check_indices(const Context& c, const Index* index, int64_t n, int64_t bound) {
  using Unsigned = std::make_unsigned_t<Index>;
  Unsigned most = 0;  // a negative index is a huge unsigned one
  for (int64_t i = 0; i < n; ++i) {
    const Unsigned u = static_cast<Unsigned>(index[i]);
    most = u > most ? u : most;
  }
  if (n == 0 || static_cast<uint64_t>(most) < static_cast<uint64_t>(bound)) return;
  for (int64_t i = 0; i < n; ++i)
    check(index[i] >= 0 && index[i] < bound, "[", c.node().op, "] index ", index[i], " at position ", i,
          " is out of range [0, ", bound, ")");
}

// Rows that an index names lie anywhere: the hardware cannot guess the next ones, so they are fetched this many ahead.
constexpr int64_t kRowsAhead = 8;

// Fetches the first lines of a row; the hardware follows from there.
template <bool kWrite>
inline void fetch_row(const char* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes && at < 256; at += 64) __builtin_prefetch(row + at, kWrite);
}

template <class F, class T>
inline void update_row(const F& f, T* to, const T* from, int64_t n) {
  const auto loop = [=] {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) to[i] = f(to[i], from[i]);
  };
  if constexpr (std::is_floating_point_v<T>)
    if (n >= 16) return vectorised(loop);
  loop();
}

template <class T>
inline void add_row(T* to, const T* from, int64_t n) {
  update_row(formula::Add(), to, from, n);
}

}  // namespace rf
