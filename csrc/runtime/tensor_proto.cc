#include "runtime/tensor_proto.h"

#include <cstring>
#include <string>

namespace rf {
namespace {

// What a TensorProto may hold; which list counts follows from the dtype, known only at the end.
struct Values {
  std::string_view content;
  std::vector<float> floats;
  std::vector<double> doubles;
  std::vector<int32_t> ints;
  std::vector<int64_t> int64s;
  std::vector<bool> bools;
  std::vector<int32_t> halves;
  std::vector<uint32_t> uint32s;
  std::vector<uint64_t> uint64s;
  std::vector<std::string_view> strings;
};

// The dimensions as a Shape, and the bytes of a tensor of it.
Shape checked_shape(const Reader& r, const PartialShape& partial, size_t element_bytes, size_t& bytes) {
  if (!partial.fully_known()) r.corrupt("a tensor's shape is not fully known");
  if (partial.dims.size() > Shape::kMaxRank)
    fail(Code::Unimplemented, "[GraphDef] a tensor has ", partial.dims.size(), " dimensions, at most ", Shape::kMaxRank,
         " are supported");
  // the product of the sizes that are not 0, so that (0, 2^62, 2^62) does not overflow later either
  uint64_t product = element_bytes;
  bool empty = false;
  for (int64_t d : partial.dims) {
    empty = empty || d == 0;
    if (d != 0 && __builtin_mul_overflow(product, static_cast<uint64_t>(d), &product))
      r.corrupt("the size of a tensor overflows");
  }
  if (product > uint64_t{1} << 62) r.corrupt("the size of a tensor overflows");
  bytes = empty ? 0 : static_cast<size_t>(product);
  return partial.shape();
}

template <class Stored, class T, class Convert>
void fill(const Reader& r, Tensor& tensor, const std::vector<Stored>& values, Convert convert) {
  const size_t n = static_cast<size_t>(tensor.num_elements());
  if (values.size() > n) r.corrupt(text("a tensor of ", n, " elements has ", values.size(), " values"));
  T* out = tensor.data<T>();
  if (values.empty()) {
    std::memset(static_cast<void*>(out), 0, n * sizeof(T));
    return;
  }
  T last{};
  for (size_t i = 0; i < values.size(); ++i) out[i] = last = convert(values[i]);
  for (size_t i = values.size(); i < n; ++i) out[i] = last;
}

template <class T, class Stored>
void fill_as(const Reader& r, Tensor& tensor, const std::vector<Stored>& values) {
  fill<Stored, T>(r, tensor, values, [](Stored v) { return static_cast<T>(v); });
}

template <class T>
void fill_bits(const Reader& r, Tensor& tensor, const std::vector<int32_t>& values) {
  fill<int32_t, T>(r, tensor, values, [](int32_t v) {
    T x;
    x.bits = static_cast<uint16_t>(v);
    return x;
  });
}

void fill_from_lists(const Reader& r, Tensor& tensor, const Values& v) {
  switch (tensor.dtype()) {
    case DType::Float: return fill_as<float>(r, tensor, v.floats);
    case DType::Double: return fill_as<double>(r, tensor, v.doubles);
    case DType::Int32: return fill_as<int32_t>(r, tensor, v.ints);
    case DType::UInt8: return fill_as<uint8_t>(r, tensor, v.ints);
    case DType::Int16: return fill_as<int16_t>(r, tensor, v.ints);
    case DType::Int8: return fill_as<int8_t>(r, tensor, v.ints);
    case DType::UInt16: return fill_as<uint16_t>(r, tensor, v.ints);
    case DType::Int64: return fill_as<int64_t>(r, tensor, v.int64s);
    case DType::Bool: return fill_as<bool>(r, tensor, v.bools);
    case DType::BFloat16: return fill_bits<BFloat16>(r, tensor, v.halves);
    case DType::Half: return fill_bits<Half>(r, tensor, v.halves);
    case DType::UInt32: return fill_as<uint32_t>(r, tensor, v.uint32s);
    case DType::UInt64: return fill_as<uint64_t>(r, tensor, v.uint64s);
    default: fail(Code::Internal, "no value list for dtype ", name_of(tensor.dtype()));
  }
}

// The last value repeats, whatever its length: what the budget for expansion does not see is bounded here.
void fill_strings(const Reader& r, Tensor& tensor, const std::vector<std::string_view>& values) {
  const size_t n = static_cast<size_t>(tensor.num_elements());
  if (values.size() > n) r.corrupt(text("a tensor of ", n, " elements has ", values.size(), " values"));
  if (values.size() < n && !values.empty() && values.back().size() > 64)
    r.corrupt(text("a tensor of ", n, " strings repeats a long one"));
  std::string* out = tensor.data<std::string>();
  for (size_t i = 0; i < n && !values.empty(); ++i) out[i] = values[i < values.size() ? i : values.size() - 1];
}

int64_t read_dim(Reader r) {
  int64_t size = 0;
  while (r.next()) {
    if (r.tag() == tag(1, Wire::Varint))
      size = r.integer();
    else
      r.skip();
  }
  if (size < -1) r.corrupt(text("a dimension is ", size));
  return size;
}

}  // namespace

PartialShape read_shape(Reader r) {
  PartialShape shape;
  while (r.next()) {
    switch (r.tag()) {
      case tag(2, Wire::Bytes): shape.dims.push_back(read_dim(r.message("TensorShapeProto.Dim"))); break;
      case tag(3, Wire::Varint): shape.unknown_rank = r.varint() != 0; break;
      default: r.skip();
    }
  }
  if (shape.unknown_rank) shape.dims.clear();
  return shape;
}

Tensor read_tensor(Reader r, ExpansionBudget& budget) {
  int64_t dtype_number = 0;
  PartialShape partial;
  Values v;
  size_t received = 0;
  const auto integer = [](Reader& in) { return in.integer(); };
  while (r.next()) {
    const bool packed = (r.tag() & 7) == static_cast<uint32_t>(Wire::Bytes);
    switch (r.tag()) {
      case tag(1, Wire::Varint): dtype_number = r.integer(); break;
      case tag(2, Wire::Bytes): partial = read_shape(r.message("TensorShapeProto")); break;
      case tag(4, Wire::Bytes): v.content = r.bytes(); break;
      case tag(5, Wire::Fixed32):
      case tag(5, Wire::Bytes): read_repeated(r, packed, v.floats, [](Reader& in) { return in.float32(); }); break;
      case tag(6, Wire::Fixed64):
      case tag(6, Wire::Bytes): read_repeated(r, packed, v.doubles, [](Reader& in) { return in.float64(); }); break;
      case tag(7, Wire::Varint):
      case tag(7, Wire::Bytes): read_repeated(r, packed, v.ints, integer); break;
      case tag(8, Wire::Bytes): v.strings.push_back(r.bytes()); break;
      case tag(10, Wire::Varint):
      case tag(10, Wire::Bytes): read_repeated(r, packed, v.int64s, integer); break;
      case tag(11, Wire::Varint):
      case tag(11, Wire::Bytes): read_repeated(r, packed, v.bools, integer); break;
      case tag(13, Wire::Varint):
      case tag(13, Wire::Bytes): read_repeated(r, packed, v.halves, integer); break;
      case tag(16, Wire::Varint):
      case tag(16, Wire::Bytes): read_repeated(r, packed, v.uint32s, integer); break;
      case tag(17, Wire::Varint):
      case tag(17, Wire::Bytes): read_repeated(r, packed, v.uint64s, integer); break;
      default: r.skip();
    }
  }
  const DType dtype = value_dtype(dtype_number);
  const bool strings = dtype == DType::String;
  const size_t element_bytes = strings ? sizeof(std::string) : size_of(dtype);
  if (element_bytes == 0) return {};

  size_t bytes = 0;
  const Shape shape = checked_shape(r, partial, element_bytes, bytes);
  if (!v.content.empty() && !strings) {
    if (v.content.size() != bytes)
      r.corrupt(text("a ", name_of(dtype), " tensor of shape ", shape, " has ", bytes, " bytes, received ",
                     v.content.size()));
    received = bytes;
  } else {
    received = v.floats.size() * 4 + v.doubles.size() * 8 + v.ints.size() + v.int64s.size() + v.bools.size() +
               v.halves.size() + v.uint32s.size() + v.uint64s.size();
    for (const auto& s : v.strings) received += s.size() + 1;
  }
  const size_t growth = bytes > received ? bytes - received : 0;
  if (growth > budget.left)
    r.corrupt(text("a tensor of shape ", shape, " takes ", bytes, " bytes but the message holds ", received,
                   " of them, more than the limit on repeated values allows"));
  budget.left -= growth;

  Tensor tensor(dtype, shape);
  if (strings) {
    fill_strings(r, tensor, v.strings);
  } else if (v.content.empty()) {
    fill_from_lists(r, tensor, v);
  } else if (dtype == DType::Bool) {
    // a bool with another bit pattern than 0 or 1 would be undefined behaviour in every kernel
    uint8_t* out = static_cast<uint8_t*>(tensor.raw());
    for (size_t i = 0; i < bytes; ++i) out[i] = v.content[i] != 0;
  } else {
    std::memcpy(tensor.raw(), v.content.data(), bytes);
  }
  return tensor;
}

}  // namespace rf
