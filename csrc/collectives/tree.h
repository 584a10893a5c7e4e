// Collectives along a binomial tree over any transport: few steps, for short messages.
//
// n bytes, p ranks, a and b as in ring.h:
//   reduce      ceil(log2 p) steps; n bytes sent by every rank but the root: ceil(log2 p) (a + n b + n c)
//   broadcast   ceil(log2 p) steps; n bytes sent to each child, of which the root has ceil(log2 p): ceil(log2 p) (a + n b)
//   allreduce   a reduce to rank 0 and a broadcast from it
// Sums are formed on one rank, the lower rank's part first: all ranks get the same bits. 16-bit floats are reduced as
// float32 (twice the bytes, on the way up only), so that a sum is rounded once.
#pragma once

#include "collectives/group.h"

namespace rf::tree {

// The result is on the root; elsewhere `data` is scratch.
void reduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction, int root);
void broadcast(Group& group, void* data, size_t bytes, int root);
void allreduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction);

}  // namespace rf::tree
