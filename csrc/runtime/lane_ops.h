// The lane: a few words that travel with the last bucket, so that ranks agree on more than gradients at no extra cost.
//
// Layout of the tensor, for P ranks and K sums, all summed over the ranks:
//   [0]          1 from every rank: must come to P
//   [1, K]       the sums: of samples, losses, metrics
//   [K+1, ...]   two words a rank, zero from all others: its step and the checksum of a slice of its weights
// The reduction is a mean, so each word is multiplied by P before; whole numbers below 2^24 / P stay exact.
// The slice rotates with the step through all weights, so a replica that has drifted is found and named.
//
// Threads: as any kernel. Invariant: `step` counts the runs of the packing op, in lockstep on all ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/resource.h"

namespace rf {

struct LaneState : Resource {
  int64_t step = 0;  // of the run under way
};

// What rotates: the checksum of step `step` covers elements [begin, end) of weight `weight`.
struct Rotation {
  int weight = -1;  // none: there are no weights
  int64_t begin = 0, end = 0;
};
Rotation rotation_of(int64_t step, const std::vector<int64_t>& elements);

// Words are kept modulo this: a power of two, at most 2^24 / ranks and 2^20.
int64_t word_modulus(int ranks);

uint64_t checksum(const void* data, size_t bytes);

}  // namespace rf
