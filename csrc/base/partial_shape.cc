#include "base/partial_shape.h"

namespace rf {

bool fits(const PartialShape& known, const Shape& shape, int skipped) {
  if (known.unknown_rank) return true;
  if (static_cast<int>(known.dims.size()) != shape.rank() - skipped) return false;
  for (int i = skipped; i < shape.rank(); ++i) {
    const int64_t d = known.dims[static_cast<size_t>(i - skipped)];
    if (d >= 0 && d != shape[i]) return false;
  }
  return true;
}

std::string text_of(const PartialShape& shape) {
  if (shape.unknown_rank) return "<unknown>";
  std::string s = "(";
  for (size_t i = 0; i < shape.dims.size(); ++i)
    s += (i ? ", " : "") + (shape.dims[i] < 0 ? std::string("?") : std::to_string(shape.dims[i]));
  return s + (shape.dims.size() == 1 ? ",)" : ")");
}

}  // namespace rf
