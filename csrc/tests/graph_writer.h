// Writes GraphDef bytes by hand, for the tests: protobuf's wire format, independent of the reader.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace rf::test {

using Bytes = std::string;

inline Bytes varint(uint64_t v) {
  Bytes s;
  for (; v >= 0x80; v >>= 7) s += static_cast<char>(v | 0x80);
  return s + static_cast<char>(v);
}
inline Bytes key(uint32_t field, uint32_t type) { return varint(field << 3 | type); }
inline Bytes number(uint32_t field, int64_t v) { return key(field, 0) + varint(static_cast<uint64_t>(v)); }
inline Bytes bytes(uint32_t field, const Bytes& v) { return key(field, 2) + varint(v.size()) + v; }
template <class T>
Bytes raw(const std::vector<T>& values) {
  return Bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}
inline Bytes real(uint32_t field, float v) { return key(field, 5) + raw<float>({v}); }
inline Bytes packed(uint32_t field, const std::vector<int64_t>& values) {
  Bytes s;
  for (int64_t v : values) s += varint(static_cast<uint64_t>(v));
  return bytes(field, s);
}

// TensorShapeProto
inline Bytes shape(const std::vector<int64_t>& dims) {
  Bytes s;
  for (int64_t d : dims) s += bytes(2, number(1, d));
  return s;
}
// TensorProto, but for its values
inline Bytes tensor(int dtype, const std::vector<int64_t>& dims, const Bytes& values) {
  return number(1, dtype) + bytes(2, shape(dims)) + values;
}
inline Bytes content(const Bytes& data) { return bytes(4, data); }

// An entry of NodeDef.attr, the value being an AttrValue
inline Bytes attr(const std::string& name, const Bytes& value) { return bytes(5, bytes(1, name) + bytes(2, value)); }
inline Bytes type_attr(const std::string& name, int dtype) { return attr(name, number(6, dtype)); }
inline Bytes int_attr(const std::string& name, int64_t v) { return attr(name, number(3, v)); }

// The outputs as the runtime wants them
inline Bytes outputs(const std::vector<int64_t>& dtypes, const std::vector<std::vector<int64_t>>& shapes) {
  Bytes list;
  for (const auto& s : shapes) list += bytes(7, shape(s));
  return attr("_output_dtypes", bytes(1, packed(6, dtypes))) + attr("_output_shapes", bytes(1, list));
}

// A NodeDef inside a GraphDef
inline Bytes node(const std::string& name, const std::string& op, const std::vector<std::string>& inputs,
                  const Bytes& attrs = {}) {
  Bytes s = bytes(1, name) + bytes(2, op);
  for (const std::string& i : inputs) s += bytes(3, i);
  return bytes(1, s + attrs);
}
inline Bytes argument(const std::string& name, int64_t index, const std::vector<int64_t>& dims, int dtype = 1) {
  return node(name, "_Arg", {}, int_attr("index", index) + type_attr("T", dtype) + outputs({dtype}, {dims}));
}
inline Bytes result(const std::string& name, int64_t index, const std::string& input, int dtype = 1) {
  return node(name, "_Retval", {input}, int_attr("index", index) + type_attr("T", dtype));
}
inline Bytes constant(const std::string& name, const std::vector<int64_t>& dims, const std::vector<float>& values) {
  return node(name, "Const", {},
              type_attr("dtype", 1) + attr("value", bytes(8, tensor(1, dims, content(raw(values))))) + outputs({1}, {dims}));
}

}  // namespace rf::test
