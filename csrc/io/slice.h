// A part of a tensor: a range of each dimension, as `shape_and_slices` of SaveV2 and RestoreV2 writes it.
//
// "4 3 0,2:-" is rows 0 and 1 of a tensor of shape (4, 3): the shape, then start,length or - (all) for each dimension.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/shape.h"

namespace rf {

struct Slice {
  static constexpr int64_t kAll = -1;
  std::vector<int64_t> start, length;  // of each dimension; (0, kAll) where all of it is meant

  // The slice's own shape. InvalidArgument where it does not lie in a tensor of `full`.
  Shape shape(const Shape& full) const;
  bool operator==(const Slice& other) const { return start == other.start && length == other.length; }
};

struct ShapeAndSlice {
  Shape full;
  Slice slice;
};

// InvalidArgument for text of another form.
ShapeAndSlice parse_shape_and_slice(const std::string& text);
// The key under which a bundle keeps a slice. Source: TensorFlow's ordered code (core/lib/strings/ordered_code.cc).
std::string slice_key(const std::string& tensor, const Slice& slice);

// Copies the elements that `from` (a slice of `full`, in `in`) and `to` (another, in `out`) have in common, of
// `element_bytes` each, by `copy(out offset, in offset, bytes)`, all in bytes. Returns how many elements they were.
template <class Copy>
int64_t copy_common(const Shape& full, const Slice& from, const Slice& to, size_t element_bytes, Copy copy);

// ---- implementation
template <class Copy>
int64_t copy_common(const Shape& full, const Slice& from, const Slice& to, size_t element_bytes, Copy copy) {
  const int rank = full.rank();
  const Shape in = from.shape(full), out = to.shape(full);
  std::vector<int64_t> begin, count;
  int64_t total = 1;
  for (int d = 0; d < rank; ++d) {
    const size_t k = static_cast<size_t>(d);
    const int64_t first = std::max(from.start[k], to.start[k]);
    const int64_t end = std::min(from.start[k] + in[d], to.start[k] + out[d]);
    if (end <= first) return 0;
    begin.push_back(first);
    count.push_back(end - first);
    total *= end - first;
  }
  const int64_t run = rank == 0 ? 1 : count.back();
  std::vector<int64_t> at(static_cast<size_t>(rank), 0);
  for (int64_t done = 0; done < total; done += run) {
    int64_t in_offset = 0, out_offset = 0;
    for (int d = 0; d < rank; ++d) {
      const size_t k = static_cast<size_t>(d);
      in_offset = in_offset * in[d] + begin[k] + at[k] - from.start[k];
      out_offset = out_offset * out[d] + begin[k] + at[k] - to.start[k];
    }
    copy(static_cast<size_t>(out_offset) * element_bytes, static_cast<size_t>(in_offset) * element_bytes,
         static_cast<size_t>(run) * element_bytes);
    for (int d = rank - 2; d >= 0; --d) {  // the next run, counting as an odometer does
      const size_t k = static_cast<size_t>(d);
      if (++at[k] < count[k]) break;
      at[k] = 0;
    }
  }
  return total;
}

}  // namespace rf
