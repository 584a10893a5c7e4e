// Collectives over any transport, along the ring 0 -> 1 -> ... -> p-1 -> 0.
//
// n bytes, p ranks; a = time of a message, b = time of a byte on the link, c = time to reduce a byte.
//   reduce_scatter  of chunks of n_0 ... n_(p-1) bytes: p-1 steps, n - n_r bytes sent by rank r
//                   (p-1) a + n(p-1)/p b + n(p-1)/p c
//   allgatherv      p-1 steps, n - n_(r+1) bytes sent: all chunks but the next rank's
//   allreduce       both, with chunks that differ by at most one element: 2(p-1) steps, 2n - n_r - n_(r+1) bytes sent
//                   (2n(p-1)/p where p divides the count), 2(p-1) a + 2n(p-1)/p b + n(p-1)/p c
//   broadcast       a pipelined chain in segments of s bytes: p - 2 + ceil(n/s) steps, n bytes sent per rank but the last
//   barrier         dissemination, ceil(log2 p) steps of no bytes
// In place. Chunk k is summed from rank k+1 on, round to rank k: deterministic for a given p, another order than
// one_pass.h. Sums of 16-bit floats are scattered by a pairwise exchange instead (exchange.h): the same bytes, but each
// sum is rounded once.
// Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 69 (2009).
#pragma once

#include <vector>

#include "collectives/group.h"

namespace rf::ring {

void allreduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction);
// Chunk r of `data`, the bytes [begin[r], begin[r + 1]), becomes rank r's result; the rest is scratch.
void reduce_scatter(Group& group, char* data, const std::vector<size_t>& begin, DType dtype, Reduction reduction);
// Chunk r of `data` comes from rank r.
void allgather(Group& group, char* data, const std::vector<size_t>& begin);
void broadcast(Group& group, void* data, size_t bytes, int root);
void barrier(Group& group);

// p + 1 offsets of chunks that differ by at most one element.
std::vector<size_t> even_chunks(int64_t count, size_t element_bytes, int parts);

}  // namespace rf::ring
