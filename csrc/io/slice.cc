#include "io/slice.h"

#include <charconv>
#include <cstdint>

#include "base/error.h"

namespace rf {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

int64_t number(const std::string& digits, const std::string& whole) {
  int64_t value = -1;
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, value);
  check(error == std::errc() && at == end && value >= 0, "[shape_and_slices] must be like '4 3 0,2:-': got '", whole, "'");
  return value;
}

std::string big_endian(uint64_t value, size_t bytes) {
  std::string s;
  for (size_t i = bytes; i-- > 0;) s += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  return s;
}

// Numbers and strings whose encodings compare as they do.
void ordered_number(std::string& out, uint64_t value) {
  size_t bytes = 0;
  for (uint64_t v = value; v != 0; v >>= 8) ++bytes;
  out += static_cast<char>(bytes);
  out += big_endian(value, bytes);
}

void ordered_string(std::string& out, const std::string& s) {
  for (char c : s) {
    out += c;
    if (c == '\0') out += '\xff';
    if (c == '\xff') out += '\0';
  }
  out.append("\0\1", 2);
}

// n bytes hold 7n-1 bits; n ones and a zero in front say how many bytes. For a negative number, all bits flip.
void ordered_signed(std::string& out, int64_t value) {
  const uint64_t magnitude = static_cast<uint64_t>(value < 0 ? ~value : value);
  size_t bytes = 1;
  while (bytes < 10 && magnitude >> std::min<size_t>(63, 7 * bytes - 1) != 0) ++bytes;
  std::string s = big_endian(magnitude, bytes);
  const unsigned ones = 0xffffu << (16 - bytes) & 0xffffu;
  s[0] = static_cast<char>(s[0] ^ (ones >> 8));
  if (bytes > 1) s[1] = static_cast<char>(s[1] ^ (ones & 0xff));
  if (value < 0)
    for (char& c : s) c = static_cast<char>(~c);
  out += s;
}

}  // namespace

Shape Slice::shape(const Shape& full) const {
  check(static_cast<int>(start.size()) == full.rank() && start.size() == length.size(),
        "[shape_and_slices] a slice has one part for each dimension: got ", start.size(), " for shape ", full);
  Shape shape;
  for (int d = 0; d < full.rank(); ++d) {
    const int64_t from = start[static_cast<size_t>(d)], count = length[static_cast<size_t>(d)];
    check(count == kAll ? from == 0 : from >= 0 && count >= 0 && from <= full[d] && count <= full[d] - from,
          "[shape_and_slices] a slice lies in its tensor: got ", from, ",", count, " of dimension ", d, " of ", full);
    shape.add(count == kAll ? full[d] : count);
  }
  return shape;
}

ShapeAndSlice parse_shape_and_slice(const std::string& text) {
  std::vector<std::string> parts = split(text, ' ');
  const std::string ranges = parts.back();
  parts.pop_back();
  ShapeAndSlice result;
  for (const std::string& p : parts) result.full.add(number(p, text));
  if (result.full.rank() == 0) {
    check(ranges.empty() || ranges == "-", "[shape_and_slices] must be like '4 3 0,2:-': got '", text, "'");
    return result;
  }
  for (const std::string& range : split(ranges, ':')) {
    if (range == "-") {
      result.slice.start.push_back(0);
      result.slice.length.push_back(Slice::kAll);
      continue;
    }
    const auto ends = split(range, ',');
    check(ends.size() == 2, "[shape_and_slices] must be like '4 3 0,2:-': got '", text, "'");
    result.slice.start.push_back(number(ends[0], text));
    result.slice.length.push_back(number(ends[1], text));
  }
  result.slice.shape(result.full);
  return result;
}

std::string slice_key(const std::string& tensor, const Slice& slice) {
  std::string key;
  ordered_number(key, 0);
  ordered_string(key, tensor);
  ordered_number(key, slice.start.size());
  for (size_t d = 0; d < slice.start.size(); ++d) {
    ordered_signed(key, slice.start[d]);
    ordered_signed(key, slice.length[d]);
  }
  return key;
}

}  // namespace rf
