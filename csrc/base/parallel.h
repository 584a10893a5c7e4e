// One loop on several threads: the intra-op threads of the process.
//
//     parallel_for(rows, 64, [&](int64_t begin, int64_t end, int part) { ... });
//
// The range is cut into at most intra_op_threads() parts of nearly equal length, at least `grain` long where there is
// more than one; the calling thread does one of them. `part` counts from 0: for memory that each part needs for itself.
// Contract: what an iteration writes must not depend on where the range is cut, so results do not depend on threads.
//
// Threads wait for work by looking for it for some microseconds, then asleep. One loop runs at a time: a loop inside a
// loop, or from a second thread meanwhile, runs on its own thread alone. An exception of a part is thrown to the caller
// when all have ended. After a fork the child starts threads of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace rf {

// 1 to 4096. Set before kernels run; loops under way keep their number.
void set_intra_op_threads(int threads);
int intra_op_threads();

namespace detail {
using Part = void (*)(void* body, int64_t begin, int64_t end, int part);
void run_parts(int64_t n, int parts, void* body, Part call);
}  // namespace detail

template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  const int64_t most = intra_op_threads();
  const int64_t parts = most < 2 || n < 2 * grain ? 1 : n / grain < most ? n / grain : most;
  if (parts < 2) {
    if (n > 0) body(int64_t{0}, n, 0);
    return;
  }
  using Plain = std::remove_reference_t<Body>;
  detail::run_parts(n, static_cast<int>(parts), const_cast<void*>(static_cast<const void*>(std::addressof(body))),
                    [](void* b, int64_t begin, int64_t end, int part) { (*static_cast<Plain*>(b))(begin, end, part); });
}

}  // namespace rf
