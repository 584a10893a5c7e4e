// Pairwise exchange over any transport: in step s every rank sends to rank + s and receives from rank - s.
//
//   alltoallv       p-1 steps, the bytes for the other ranks sent
//   reduce_scatter  p-1 steps, n - n_r bytes sent by rank r (its chunk n_r), room for (p-1) n_r: all contributions to a
//                   chunk meet on its rank, which sums them in rank order and rounds once. For 16-bit floats
#pragma once

#include <vector>

#include "collectives/group.h"

namespace rf::exchange {

// Block r of `in`, the bytes [in_begin[r], in_begin[r + 1]), goes to rank r; block r of `out` comes from it.
void alltoallv(Group& group, const char* in, const std::vector<size_t>& in_begin, char* out,
               const std::vector<size_t>& out_begin);
// As ring::reduce_scatter; leaves the other chunks alone.
void reduce_scatter(Group& group, char* data, const std::vector<size_t>& begin, DType dtype, Reduction reduction);

}  // namespace rf::exchange
