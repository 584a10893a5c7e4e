// Allreduce over several nodes: shared memory within a node, a transport between nodes, every local rank driving its own
// part of the link.
//
// n bytes, m nodes, g = the fewest ranks on a node. The first g local ranks of each node carry a slice of n/g each:
//   1. carrier j reduces slice j of all windows of its node into the node's result       1 barrier
//   2. the carriers j of all nodes allreduce slice j: ring, or halving-doubling when it is short
//                                                     2(m-1) or 2 log2 m steps, 2(n/g)(m-1)/m bytes sent per carrier
//   3. all ranks read the node's result in place                                          1 barrier
// Bytes sent per node: 2n(m-1)/m, however many ranks it has; memory traffic as one_pass.h. With equal nodes every rank is
// a carrier; further ranks of a larger node only contribute and read.
// Sums of 16-bit floats are rounded twice (on the node, between nodes); a mean is divided before the first rounding.
//
// Memory of the caller passes through the windows in pieces, as in one_pass.h: 1 + 2 ceil(n / piece) barriers.
#pragma once

#include "collectives/group.h"
#include "collectives/windows.h"

namespace rf::hierarchical {

constexpr size_t kShortSliceBytes = 64 << 10;  // up to this, halving-doubling between nodes

struct Nodes {
  Windows* node;      // of this rank's node
  Group* between;     // the carriers of this rank's slice; null where it carries none
  int carriers;       // g
  int ranks;          // of all nodes
};

void allreduce(const Nodes& nodes, Watch& watch, Segment& segment, int64_t count, DType dtype, Reduction reduction);
void allreduce(const Nodes& nodes, Watch& watch, Segment& passage, void* data, int64_t count, DType dtype,
               Reduction reduction);

}  // namespace rf::hierarchical
