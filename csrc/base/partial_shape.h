// A shape as a graph declares it: dimensions may be unknown, or the rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/shape.h"

namespace rf {

// A shape whose dimensions may be unknown (-1), or whose rank is.
struct PartialShape {
  bool unknown_rank = false;
  std::vector<int64_t> dims;

  bool fully_known() const {
    if (unknown_rank) return false;
    for (int64_t d : dims)
      if (d < 0) return false;
    return true;
  }
  Shape shape() const { return Shape(dims.begin(), dims.end()); }
  bool operator==(const PartialShape& other) const { return unknown_rank == other.unknown_rank && dims == other.dims; }
};

// Whether the shape, without its first `skipped` dimensions, is as declared.
bool fits(const PartialShape& known, const Shape& shape, int skipped = 0);
// "(?, 3)", "<unknown>"
std::string text_of(const PartialShape& shape);

}  // namespace rf
