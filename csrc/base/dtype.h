// Element types, numbered as TensorFlow's DataType, and dispatch from a run-time dtype to a C++ type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/half.h"

namespace rf {

enum class DType : int32_t {
  Invalid = 0,
  Float = 1,
  Double = 2,
  Int32 = 3,
  UInt8 = 4,
  Int16 = 5,
  Int8 = 6,
  String = 7,
  Int64 = 9,
  Bool = 10,
  BFloat16 = 14,
  UInt16 = 17,
  Half = 19,
  Resource = 20,
  Variant = 21,
  UInt32 = 22,
  UInt64 = 23,
};

// A ref dtype is its value dtype + 100 on the wire; the runtime only ever sees the value dtype.
inline DType value_dtype(int64_t wire) { return static_cast<DType>(wire > 100 ? wire - 100 : wire); }

size_t size_of(DType dtype);         // bytes of one element; 0 for types without a fixed size
const char* name_of(DType dtype);    // NumPy's spelling: "float32", "int64", ...

template <class T>
struct DTypeOf;
#define RF_DTYPE(TYPE, NAME)                        \
  template <>                                       \
  struct DTypeOf<TYPE> {                            \
    static constexpr DType value = DType::NAME;     \
  };
RF_DTYPE(float, Float)
RF_DTYPE(double, Double)
RF_DTYPE(int32_t, Int32)
RF_DTYPE(uint8_t, UInt8)
RF_DTYPE(int16_t, Int16)
RF_DTYPE(int8_t, Int8)
RF_DTYPE(int64_t, Int64)
RF_DTYPE(bool, Bool)
RF_DTYPE(BFloat16, BFloat16)
RF_DTYPE(uint16_t, UInt16)
RF_DTYPE(Half, Half)
RF_DTYPE(uint32_t, UInt32)
RF_DTYPE(uint64_t, UInt64)
RF_DTYPE(std::string, String)
#undef RF_DTYPE

template <class T>
struct Type {
  using type = T;
};

// Calls f(Type<T>{}) with the element type of `dtype`, over every fixed-size dtype.
template <class F>
auto visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Float: return f(Type<float>{});
    case DType::Double: return f(Type<double>{});
    case DType::Int32: return f(Type<int32_t>{});
    case DType::UInt8: return f(Type<uint8_t>{});
    case DType::Int16: return f(Type<int16_t>{});
    case DType::Int8: return f(Type<int8_t>{});
    case DType::Int64: return f(Type<int64_t>{});
    case DType::Bool: return f(Type<bool>{});
    case DType::BFloat16: return f(Type<BFloat16>{});
    case DType::UInt16: return f(Type<uint16_t>{});
    case DType::Half: return f(Type<Half>{});
    case DType::UInt32: return f(Type<uint32_t>{});
    case DType::UInt64: return f(Type<uint64_t>{});
    default: fail(Code::Unimplemented, "dtype ", name_of(dtype), " has no element type here");
  }
}

// The same for the two index types.
template <class F>
auto visit_index(DType dtype, F&& f) {
  if (dtype == DType::Int32) return f(Type<int32_t>{});
  if (dtype == DType::Int64) return f(Type<int64_t>{});
  fail(Code::InvalidArgument, "an index must be int32 or int64, not ", name_of(dtype));
}

}  // namespace rf
