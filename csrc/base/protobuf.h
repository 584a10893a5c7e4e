// A reader of protobuf's wire format: one message, field by field, over bytes that it does not own.
//
//     for (Reader r(bytes); r.next();) switch (r.tag()) {
//       case tag(1, Wire::Bytes): name = r.string(); break;
//       default: r.skip();
//     }
//
// A known field with another wire type is an unknown field, as in protobuf. Every malformed input is DataLoss; its text
// begins with the `format` that the reader was made for. The functions in `proto` append fields to a message.
// Source: https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rf {

enum class Wire : uint32_t { Varint = 0, Fixed64 = 1, Bytes = 2, StartGroup = 3, EndGroup = 4, Fixed32 = 5 };

constexpr uint32_t tag(uint32_t field, Wire type) { return field << 3 | static_cast<uint32_t>(type); }

class Reader {
 public:
  Reader(std::string_view bytes, const char* message, int nesting = 64, const char* format = "GraphDef")
      : at_(bytes.data()), end_(bytes.data() + bytes.size()), begin_(bytes.data()), message_(message), format_(format),
        nesting_(nesting) {}

  // Reads the next tag; false at the end of the message.
  bool next();
  uint32_t tag() const { return tag_; }
  bool done() const { return at_ == end_; }

  // The payload of the field just found; call the one that the tag asks for.
  uint64_t varint();
  int64_t integer() { return static_cast<int64_t>(varint()); }
  uint32_t fixed32();
  uint64_t fixed64();
  float float32();
  double float64();
  std::string_view bytes();
  std::string string() { return std::string(bytes()); }
  Reader message(const char* name);
  void skip();

  [[noreturn]] void corrupt(const std::string& what) const;

 private:
  const char* at_;
  const char* end_;
  const char* begin_;
  const char* message_;
  const char* format_;
  int nesting_;
  uint32_t tag_ = 0;
};

// A repeated numeric field, packed or not: `read(reader)` takes one element.
template <class T, class Read>
void read_repeated(Reader& r, bool packed, std::vector<T>& out, Read read) {
  if (!packed) {
    out.push_back(static_cast<T>(read(r)));
    return;
  }
  for (Reader values = r.message("packed field"); !values.done();) out.push_back(static_cast<T>(read(values)));
}

namespace proto {

void varint(std::string& out, uint64_t value);
// One field each. proto3 leaves zeros out: so do integer and fixed32.
void integer(std::string& out, uint32_t field, int64_t value);
void fixed32(std::string& out, uint32_t field, uint32_t value);
void bytes(std::string& out, uint32_t field, std::string_view value);

}  // namespace proto
}  // namespace rf
