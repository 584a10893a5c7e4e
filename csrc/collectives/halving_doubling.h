// Allreduce by recursive halving and doubling over any transport (Rabenseifner's algorithm).
//
// n bytes, p ranks, q = the largest power of 2 <= p; a, b, c as in ring.h. Ranks beyond q are folded: the first 2(p-q)
// form pairs, of which the lower one hands its data (n bytes) to the upper one and gets the result (n bytes) back.
//   n > kSmallBytes    2 log2 q steps, about 2n(q-1)/q bytes sent per rank: 2 log2 q a + 2n(q-1)/q b + n(q-1)/q c;
//                      a rank halves its part of the vector log2 q times, then doubles it
//   n <= kSmallBytes   recursive doubling: log2 q steps, n log2 q bytes sent per rank: log2 q (a + n b + n c)
//   p > q              2 steps more; n bytes sent by the lower rank of a pair, n more than above by the upper one
// All ranks get the same bits: a part is reduced by one rank (or, when doubling, by all in the same order), the lower
// rank's operand first. 16-bit floats travel as float32 (twice the bytes), so that a sum is rounded once.
// Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in MPICH", IJHPCA 19 (2005).
#pragma once

#include "collectives/group.h"

namespace rf::halving_doubling {

constexpr size_t kSmallBytes = 2048;

void allreduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction);

}  // namespace rf::halving_doubling
