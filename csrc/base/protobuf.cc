#include "base/protobuf.h"

#include <cstring>

namespace rf {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire format is read in place, little-endian");

void Reader::corrupt(const std::string& what) const {
  fail(Code::DataLoss, "[", format_, "] ", message_, " is corrupt at byte ", at_ - begin_, " of ", end_ - begin_, ": ", what,
       ". Fix: write it again; the bytes were damaged or cut short");
}

bool Reader::next() {
  if (at_ == end_) return false;
  const uint64_t value = varint();
  if (value > UINT32_MAX || value >> 3 == 0) corrupt(text("invalid field tag ", value));
  tag_ = static_cast<uint32_t>(value);
  return true;
}

uint64_t Reader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (at_ == end_) corrupt("a varint runs past the end");
    const uint8_t byte = static_cast<uint8_t>(*at_++);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;  // bits above 64 are dropped, as protobuf does
    if (byte < 0x80) return value;
  }
  corrupt("a varint is longer than 10 bytes");
}

uint32_t Reader::fixed32() {
  if (end_ - at_ < 4) corrupt("a 32-bit value runs past the end");
  uint32_t value;
  std::memcpy(&value, at_, 4);
  at_ += 4;
  return value;
}

uint64_t Reader::fixed64() {
  if (end_ - at_ < 8) corrupt("a 64-bit value runs past the end");
  uint64_t value;
  std::memcpy(&value, at_, 8);
  at_ += 8;
  return value;
}

float Reader::float32() {
  const uint32_t bits = fixed32();
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

double Reader::float64() {
  const uint64_t bits = fixed64();
  double value;
  std::memcpy(&value, &bits, 8);
  return value;
}

std::string_view Reader::bytes() {
  const uint64_t size = varint();
  if (size > static_cast<uint64_t>(end_ - at_)) corrupt(text("a field of ", size, " bytes runs past the end"));
  const char* data = at_;
  at_ += size;
  return {data, static_cast<size_t>(size)};
}

Reader Reader::message(const char* name) {
  if (nesting_ == 0) corrupt("messages are nested too deeply");
  return Reader(bytes(), name, nesting_ - 1, format_);
}

void Reader::skip() {
  switch (static_cast<Wire>(tag_ & 7)) {
    case Wire::Varint: varint(); return;
    case Wire::Fixed64: fixed64(); return;
    case Wire::Bytes: bytes(); return;
    case Wire::Fixed32: fixed32(); return;
    case Wire::StartGroup: break;
    default: corrupt(text("unexpected wire type ", tag_ & 7));
  }
  // A group ends at the end tag of its own field number; groups may nest.
  std::vector<uint32_t> open{tag_ >> 3};
  while (!open.empty()) {
    if (!next()) corrupt("a group has no end");
    const uint32_t field = tag_ >> 3;
    switch (static_cast<Wire>(tag_ & 7)) {
      case Wire::StartGroup:
        if (static_cast<int>(open.size()) >= nesting_) corrupt("groups are nested too deeply");
        open.push_back(field);
        break;
      case Wire::EndGroup:
        if (field != open.back()) corrupt("a group ends with another field's tag");
        open.pop_back();
        break;
      default: skip();
    }
  }
}

namespace proto {

void varint(std::string& out, uint64_t value) {
  for (; value > 0x7f; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void integer(std::string& out, uint32_t field, int64_t value) {
  if (value == 0) return;
  varint(out, tag(field, Wire::Varint));
  varint(out, static_cast<uint64_t>(value));
}

void fixed32(std::string& out, uint32_t field, uint32_t value) {
  if (value == 0) return;
  varint(out, tag(field, Wire::Fixed32));
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void bytes(std::string& out, uint32_t field, std::string_view value) {
  varint(out, tag(field, Wire::Bytes));
  varint(out, value.size());
  out += value;
}

}  // namespace proto
}  // namespace rf
