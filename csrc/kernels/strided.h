// Copies between two strided views of the same shape: the one loop behind Transpose, Concat, Split, Slice, Pad, Tile.
//
// Steps are in bytes and may be 0 (source only: repetition) or negative. Dimensions that chain in both views are
// merged first; what is left runs as rows of memcpy, as blocked 2-D transposes, or element by element.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/shape.h"

namespace rf {

class StridedCopy {
 public:
  explicit StridedCopy(size_t element_bytes) : width_(static_cast<int64_t>(element_bytes)) {}

  // The next dimension, outermost first: its size and how many bytes one step moves in source and target.
  void add(int64_t size, int64_t from_step, int64_t to_step);
  void run(const void* from, void* to) const;  // large copies on the intra-op threads

 private:
  struct Dim {
    int64_t size, from, to;
  };
  void run_part(const char* from, char* to) const;

  static constexpr int kMaxRank = 2 * Shape::kMaxRank;  // Tile splits each dimension in two

  bool empty_ = false;
  int rank_ = 0;
  Dim dims_[kMaxRank];
  int64_t width_;
};

// Bytes from one index to the next in each dimension of a dense tensor.
struct Strides {
  int64_t bytes[Shape::kMaxRank];
  Strides(const Shape& shape, size_t element_bytes) {
    int64_t step = static_cast<int64_t>(element_bytes);
    for (int i = shape.rank() - 1; i >= 0; --i) {
      bytes[i] = step;
      step *= shape[i];
    }
  }
  int64_t operator[](int axis) const { return bytes[axis]; }
};

}  // namespace rf
