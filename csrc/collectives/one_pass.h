// Collectives over windows: every rank reads its peers' memory in place.
//
// allreduce of a bucket, whose windows the callers have filled. In rank order, so that all ranks read the same bits, and
// the same bits on every run. Nothing is copied. By layout (layout_of):
//   in place   rank r reduces slice r of all p windows into its own window. Nobody else has read those lines since it
//              filled them, so they are still in its caches and writing them tells nobody. Pages of the windows are
//              mapped a second time, the slices in a row: that is the result (mapping.h).
//              Steps: 2 barriers.   Memory of the node: p n bytes.   Read from others: (p - 1) n / p of each rank's cache
//              lines, and as many of the result.
//   own        up to kSmallBytes: every rank reduces everything into a result of its own, in the second half of its window.
//              Steps: 1 barrier.    Memory of the node: 2 p n bytes.
//   apart      rank r reduces slice r into a common result: a line that the others have read before must be taken from
//              their caches first, which costs more than reading it.
//              Steps: 2 barriers.   Memory of the node: (p + 1) n bytes.
// In place and own leave the windows to the readers: before a rank refills its window all ranks must have met
// (Windows::barrier) since they last read the result. Apart, a rank may refill it at once, and the result stays until
// the rank starts the next allreduce there.
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
#include "base/tensor.h"
#include "collectives/reduction.h"
#include "collectives/windows.h"

namespace rf::one_pass {

constexpr size_t kSmallBytes = 4096;       // at most this, every rank reduces everything: a page, so that the input has one as well
constexpr size_t kRoundBytes = 256 << 10;  // of an allreduce of a caller's array: two rounds stay in a second-level cache
// The window size of the segment that passes the callers' memory. Large pieces need few barriers, but all windows are
// reserved at once.
inline size_t piece_bytes(int ranks) { return ranks <= 8 ? size_t{4} << 20 : size_t{1} << 20; }

// The elements [begin, end) that rank r of p reduces: whole pages where there are enough of them.
struct Slice {
  int64_t begin, end;
};
Slice slice_of(int64_t count, size_t element_bytes, int rank, int size);

// The layout of a bucket of `capacity` bytes in place; its window, which is twice as long where results are the ranks' own.
inline bool has_own_result(size_t capacity) { return capacity <= kSmallBytes; }
inline SegmentLayout layout_of(size_t capacity, int ranks) {
  const bool page_each = capacity > (static_cast<size_t>(ranks) - 1) * kPage;
  return has_own_result(capacity) || page_each ? SegmentLayout::InPlace : SegmentLayout::Apart;
}
inline size_t window_bytes(size_t capacity, SegmentLayout layout) {
  const bool twice = layout == SegmentLayout::InPlace && has_own_result(capacity);
  return round_up(capacity ? capacity : 1, kPage) * (twice ? 2 : 1);
}
// Where a rank finds the result.
inline char* result_of(const Segment& segment, size_t capacity, int rank) {
  const bool own = segment.layout() == SegmentLayout::InPlace && has_own_result(capacity);
  return own ? segment.window(rank) + segment.bytes() / 2 : segment.result();
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
