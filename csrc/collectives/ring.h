// Collectives over any transport, along the ring 0 -> 1 -> ... -> p-1 -> 0.
//
// n bytes, p ranks; a = time of a message, b = time of a byte on the link, c = time to reduce a byte.
//   allreduce   2(p-1) steps, 2n(p-1)/p bytes sent per rank: 2(p-1) a + 2n(p-1)/p b + n(p-1)/p c
//               In place. Chunk k (of p, sizes differ by at most one element, empty ones send nothing) is summed
//               starting at rank k: deterministic for a given p, another order than one_pass.h.
//               16-bit floats travel as float32 (twice the bytes), so that a sum is rounded once.
//   allgatherv  p-1 steps, n - n_r bytes sent by rank r: (p-1) a + (n - n_r) b
//   broadcast   a pipelined chain in segments of s bytes: p - 2 + ceil(n/s) steps, n bytes sent per rank but the last
//   barrier     dissemination, ceil(log2 p) steps of one byte
// Messages are cut in segments of kSegmentBytes: while one is reduced the next is on its way.
// Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 69 (2009).
#pragma once

#include <vector>

#include "collectives/reduction.h"
#include "collectives/transport.h"
#include "collectives/watch.h"

namespace rf::ring {

constexpr size_t kSegmentBytes = 256 << 10;

void allreduce(Transport& transport, Watch& watch, void* data, int64_t count, DType dtype, Reduction reduction);
// The same for 16-bit floats that travel as such: half the bytes, a rounding at each of the p-1 steps.
void allreduce_narrow(Transport& transport, Watch& watch, void* data, int64_t count, DType dtype, Reduction reduction);
// `bytes[r]` from rank r, concatenated in `out`; `in` may be its own place there.
void allgatherv(Transport& transport, Watch& watch, const void* in, void* out, const std::vector<size_t>& bytes);
void broadcast(Transport& transport, Watch& watch, void* data, size_t bytes, int root);
void barrier(Transport& transport, Watch& watch);

}  // namespace rf::ring
