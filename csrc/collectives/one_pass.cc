#include "collectives/one_pass.h"

#include <algorithm>
#include <cstring>

#include "base/tensor.h"

namespace rf::one_pass {
namespace {

constexpr int kMaxRanks = 1024;

struct Sources {
  const void* at[kMaxRanks];
};

Sources sources_of(const Windows& windows, const Segment& segment, size_t offset) {
  Sources sources;
  check(windows.size() <= kMaxRanks, "[allreduce] at most ", kMaxRanks, " ranks share a node, not ", windows.size());
  for (int r = 0; r < windows.size(); ++r) sources.at[r] = segment.window(r) + offset;
  return sources;
}

void reduce_slice(const Windows& windows, const Segment& segment, size_t offset, Slice slice, void* out, DType dtype,
                  Reduction reduction) {
  if (slice.begin >= slice.end) return;
  offset += static_cast<size_t>(slice.begin) * size_of(dtype);
  reduce(dtype, reduction, out, sources_of(windows, segment, offset).at, windows.size(), slice.end - slice.begin);
}

// A caller's memory may be null where it is empty.
void copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace

Slice slice_of(int64_t count, size_t element_bytes, int rank, int size) {
  const size_t bytes = static_cast<size_t>(count) * element_bytes;
  const size_t unit_bytes = bytes >= 4 * kPage * static_cast<size_t>(size) ? kPage : kAlignment;
  const int64_t unit = static_cast<int64_t>(unit_bytes / element_bytes);
  const int64_t units = (count + unit - 1) / unit, share = (units + size - 1) / size;
  return {std::min(count, rank * share * unit), std::min(count, (rank + 1) * share * unit)};
}

void allreduce(Windows& windows, Watch& watch, Segment& segment, size_t capacity, int64_t count, DType dtype,
               Reduction reduction) {
  const int me = windows.rank();
  const size_t item = size_of(dtype);
  windows.meet(watch);
  if (segment.layout() == SegmentLayout::Apart) {
    const Slice slice = slice_of(count, item, me, windows.size());
    char* out = segment.result() + static_cast<size_t>(slice.begin) * item;
    reduce_slice(windows, segment, 0, slice, out, dtype, reduction);
  } else if (has_own_result(capacity)) {
    reduce_slice(windows, segment, 0, {0, count}, result_of(segment, capacity, me), dtype, reduction);
    return;
  } else {
    const auto limit = [&](int r) { return std::min(count, static_cast<int64_t>(segment.slice_begin(r) / item)); };
    const Slice slice{limit(me), limit(me + 1)};
    char* out = segment.window(me) + static_cast<size_t>(slice.begin) * item;
    reduce_slice(windows, segment, 0, slice, out, dtype, reduction);
  }
  windows.barrier(watch);
}

void allreduce(Windows& windows, Watch& watch, Segment& passage, void* data, int64_t count, DType dtype,
               Reduction reduction) {
  const int me = windows.rank();
  const size_t item = size_of(dtype), bytes = static_cast<size_t>(count) * item;
  char* user = static_cast<char*>(data);
  if (bytes <= kSmallBytes) {
    // Alternating halves: one is refilled only after every rank has arrived at the barrier between.
    const size_t half = (windows.arrivals() & 1) * (passage.bytes() / 2);
    copy(passage.window(me) + half, user, bytes);
    windows.meet(watch);
    reduce_slice(windows, passage, half, {0, count}, user, dtype, reduction);
    return;
  }
  const size_t piece_bytes = std::min(passage.bytes() / 2, kRoundBytes);
  const int64_t piece = static_cast<int64_t>(piece_bytes / item), pieces = (count + piece - 1) / piece;
  // What this rank reduces of piece i, and the place of the piece: alternating, so that one barrier a piece is enough.
  const auto length = [&](int64_t i) { return std::min(piece, count - i * piece); };
  const auto slice = [&](int64_t i) { return slice_of(length(i), item, me, windows.size()); };
  const auto place = [&](int64_t i) { return static_cast<size_t>(i & 1) * piece_bytes; };
  const auto own = [&](int64_t i) { return user + static_cast<size_t>(i * piece) * item; };
  const auto copy_in = [&](int64_t i) {  // but for what nobody else reads
    const Slice s = slice(i);
    char* window = passage.window(me) + place(i);
    const size_t begin = static_cast<size_t>(s.begin) * item, end = static_cast<size_t>(s.end) * item;
    copy(window, own(i), begin);
    copy(window + end, own(i) + end, static_cast<size_t>(length(i)) * item - end);
  };
  windows.meet(watch);  // also: nobody still reads the windows in an earlier call
  copy_in(0);
  windows.barrier(watch);
  for (int64_t i = 0; i < pieces; ++i) {
    const Slice s = slice(i);
    if (s.begin < s.end) {
      const size_t begin = static_cast<size_t>(s.begin) * item;
      Sources sources = sources_of(windows, passage, place(i) + begin);
      sources.at[me] = own(i) + begin;
      reduce(dtype, reduction, passage.result() + place(i) + begin, sources.at, windows.size(), s.end - s.begin);
    }
    if (i + 1 < pieces) copy_in(i + 1);
    windows.barrier(watch);
    copy(own(i), passage.result() + place(i), static_cast<size_t>(length(i)) * item);
  }
}

void reduce(Windows& windows, Watch& watch, Segment& passage, void* data, int64_t count, DType dtype,
            Reduction reduction, int root) {
  const size_t item = size_of(dtype);
  const int64_t piece = static_cast<int64_t>(passage.bytes() / item);
  char* user = static_cast<char*>(data);
  windows.meet(watch);
  for (int64_t done = 0; done < count; done += piece) {
    const int64_t n = std::min(piece, count - done);
    const size_t n_bytes = static_cast<size_t>(n) * item;
    copy(passage.window(windows.rank()), user, n_bytes);
    windows.barrier(watch);
    const Slice slice = slice_of(n, item, windows.rank(), windows.size());
    reduce_slice(windows, passage, 0, slice, passage.result() + static_cast<size_t>(slice.begin) * item, dtype,
                 reduction);
    windows.barrier(watch);
    if (windows.rank() == root) copy(user, passage.result(), n_bytes);
    user += n_bytes;
  }
}

void reduce_scatter(Windows& windows, Watch& watch, Segment& passage, const char* in, char* out,
                    const std::vector<size_t>& begin, DType dtype, Reduction reduction) {
  const size_t p = static_cast<size_t>(windows.size()), me = static_cast<size_t>(windows.rank()), item = size_of(dtype);
  const size_t room = passage.bytes() / p / kAlignment * kAlignment;  // of each chunk a part is in the window at a time
  size_t longest = 0;
  for (size_t r = 0; r < p; ++r) longest = std::max(longest, begin[r + 1] - begin[r]);
  char* mine = passage.window(windows.rank());
  windows.meet(watch);
  for (size_t done = 0; done < longest; done += room) {
    const auto part = [&](size_t r) {
      const size_t bytes = begin[r + 1] - begin[r];
      return bytes > done ? std::min(room, bytes - done) : 0;
    };
    for (size_t r = 0; r < p; ++r)
      if (part(r) > 0) copy(mine + r * room, in + begin[r] + done, part(r));
    windows.barrier(watch);
    reduce_slice(windows, passage, me * room, {0, static_cast<int64_t>(part(me) / item)}, out + done, dtype, reduction);
    windows.barrier(watch);
  }
}

void alltoallv(Windows& windows, Watch& watch, Segment& passage, const char* in, const std::vector<size_t>& in_begin,
               char* out, const std::vector<size_t>& out_begin) {
  const size_t p = static_cast<size_t>(windows.size()), me = static_cast<size_t>(windows.rank());
  const size_t room = passage.bytes() / p / kAlignment * kAlignment;
  char* mine = passage.window(windows.rank());
  windows.meet(watch);
  // How many rounds there are depends on the longest block of any pair, which no rank knows alone.
  uint64_t longest = 0;
  for (size_t r = 0; r < p; ++r) longest = std::max<uint64_t>(longest, in_begin[r + 1] - in_begin[r]);
  copy(mine, &longest, sizeof longest);
  windows.barrier(watch);
  for (size_t r = 0; r < p; ++r) {
    uint64_t theirs;
    copy(&theirs, passage.window(static_cast<int>(r)), sizeof theirs);
    longest = std::max(longest, theirs);
  }
  windows.barrier(watch);
  for (size_t done = 0; done < longest; done += room) {
    const auto part = [&](const std::vector<size_t>& begin, size_t r) {
      const size_t bytes = begin[r + 1] - begin[r];
      return bytes > done ? std::min(room, bytes - done) : 0;
    };
    for (size_t r = 0; r < p; ++r)
      if (part(in_begin, r) > 0) copy(mine + r * room, in + in_begin[r] + done, part(in_begin, r));
    windows.barrier(watch);
    for (size_t r = 0; r < p; ++r)
      if (part(out_begin, r) > 0)
        copy(out + out_begin[r] + done, passage.window(static_cast<int>(r)) + me * room, part(out_begin, r));
    windows.barrier(watch);
  }
}

void broadcast(Windows& windows, Watch& watch, Segment& passage, void* data, size_t bytes, int root) {
  windows.meet(watch);
  // Two halves of the root's window: it fills one while the others read the other.
  const size_t half = passage.bytes() / 2;
  char* user = static_cast<char*>(data);
  for (size_t done = 0, turn = 0; done < bytes; done += half, turn ^= 1) {
    const size_t n = std::min(half, bytes - done);
    char* place = passage.window(root) + turn * half;
    if (windows.rank() == root) copy(place, user + done, n);
    windows.barrier(watch);
    if (windows.rank() != root) copy(user + done, place, n);
  }
  windows.barrier(watch);
}

void allgatherv(Windows& windows, Watch& watch, Segment& passage, const void* in, void* out,
                const std::vector<size_t>& bytes) {
  const size_t p = bytes.size(), longest = *std::max_element(bytes.begin(), bytes.end());
  const size_t me = static_cast<size_t>(windows.rank());
  windows.meet(watch);
  for (size_t done = 0; done < longest; done += passage.bytes()) {
    const auto part = [&](size_t r) { return bytes[r] > done ? std::min(passage.bytes(), bytes[r] - done) : 0; };
    copy(passage.window(windows.rank()), static_cast<const char*>(in) + done, part(me));
    windows.barrier(watch);
    size_t offset = 0;
    for (size_t r = 0; r < p; ++r) {
      char* place = static_cast<char*>(out) + offset + done;
      const char* from = passage.window(static_cast<int>(r));
      if (r != me || place != static_cast<const char*>(in) + done) copy(place, from, part(r));
      offset += bytes[r];
    }
    windows.barrier(watch);
  }
}

}  // namespace rf::one_pass
