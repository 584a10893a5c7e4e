// Collectives over windows: every rank reads its peers' memory in place.
//
// allreduce on a segment: rank r reduces slice r of all p windows into the shared result, in rank order, so that all
// ranks read the same bits, and the same bits on every run. Nothing is copied.
//   Steps: 2 barriers.   Memory traffic of the node: (p + 1) n bytes, of a rank (p + 1) n / p.   Bytes sent: 0.
// With two ranks and at most kOwnResultBytes each rank reduces both windows into a result of its own instead: reading
// a line that the peer has written is cheaper than writing one that the peer has read.
//   Steps: 2 barriers.   Memory traffic of a rank: 3 n bytes.
// Afterwards a rank may refill its own window; the result stays until the rank starts the next allreduce there.
//
// The others work on memory of the caller and copy it through the windows piece by piece (n bytes, pieces of b):
//   allreduce   2 + ceil(n / kRoundBytes) barriers, a copy in of (p - 1) n / p and a copy out; 1 barrier when n <= kSmallBytes
//   broadcast   1 + ceil(n / b) barriers, one copy in, p - 1 copies out
//   allgatherv  2 ceil(max n / b) barriers, one copy in, p copies out
//   reduce      as allreduce, but only the root copies the result out
//   reduce_scatter   1 + 2 ceil(max n_r / (b / p)) barriers, one copy in of everything; rank r reduces its chunk n_r
//   alltoallv   2 + 2 ceil(max n_rs / (b / p)) barriers, one copy in, one copy out
#pragma once

#include <vector>

#include "base/dtype.h"
#include "collectives/reduction.h"
#include "collectives/windows.h"

namespace rf::one_pass {

constexpr size_t kSmallBytes = 4096;       // at most this, every rank reduces everything
constexpr size_t kOwnResultBytes = 256 << 10;
constexpr size_t kRoundBytes = 256 << 10;  // of an allreduce of a caller's array: two rounds stay in a second-level cache
// The window size of the segment that passes the callers' memory. Large pieces need few barriers, but all windows are
// reserved at once.
inline size_t piece_bytes(int ranks) { return ranks <= 8 ? size_t{4} << 20 : size_t{1} << 20; }

// The elements [begin, end) that rank r of p reduces: whole pages where there are enough of them.
struct Slice {
  int64_t begin, end;
};
Slice slice_of(int64_t count, size_t element_bytes, int rank, int size);

// A segment for buckets of `capacity` bytes: the window to allocate, and where a rank finds the result.
inline bool has_own_result(size_t capacity, int ranks) { return ranks == 2 && capacity <= kOwnResultBytes; }
inline size_t window_bytes(size_t capacity, int ranks) {
  const size_t pages = capacity ? (capacity + kPage - 1) / kPage : 1;
  return pages * kPage * (has_own_result(capacity, ranks) ? 2 : 1);
}
inline char* result_of(const Segment& segment, size_t capacity, int rank, int ranks) {
  return has_own_result(capacity, ranks) ? segment.window(rank) + segment.bytes() / 2 : segment.result();
}

void allreduce(Windows& windows, Watch& watch, Segment& segment, size_t capacity, int64_t count, DType dtype,
               Reduction reduction);

// `passage` is a segment of piece_bytes that serves these calls only.
void allreduce(Windows& windows, Watch& watch, Segment& passage, void* data, int64_t count, DType dtype,
               Reduction reduction);
// The result is on the root; elsewhere `data` stays as it is.
void reduce(Windows& windows, Watch& watch, Segment& passage, void* data, int64_t count, DType dtype,
            Reduction reduction, int root);
// Chunk r of `in`, the bytes [begin[r], begin[r + 1]), is reduced into rank r's `out`.
void reduce_scatter(Windows& windows, Watch& watch, Segment& passage, const char* in, char* out,
                    const std::vector<size_t>& begin, DType dtype, Reduction reduction);
// Block r of `in`, the bytes [in_begin[r], in_begin[r + 1]), goes to rank r; block r of `out` comes from it.
void alltoallv(Windows& windows, Watch& watch, Segment& passage, const char* in, const std::vector<size_t>& in_begin,
               char* out, const std::vector<size_t>& out_begin);
void broadcast(Windows& windows, Watch& watch, Segment& passage, void* data, size_t bytes, int root);
// `bytes[r]` from rank r, concatenated in `out`; `in` may be its own place there.
void allgatherv(Windows& windows, Watch& watch, Segment& passage, const void* in, void* out,
                const std::vector<size_t>& bytes);

}  // namespace rf::one_pass
