#include "base/dtype.h"

namespace rf {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::Bool:
    case DType::UInt8:
    case DType::Int8: return 1;
    case DType::Int16:
    case DType::UInt16:
    case DType::Half:
    case DType::BFloat16: return 2;
    case DType::Float:
    case DType::Int32:
    case DType::UInt32: return 4;
    case DType::Double:
    case DType::Int64:
    case DType::UInt64: return 8;
    default: return 0;
  }
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::Invalid: return "invalid";
    case DType::Float: return "float32";
    case DType::Double: return "float64";
    case DType::Int32: return "int32";
    case DType::UInt8: return "uint8";
    case DType::Int16: return "int16";
    case DType::Int8: return "int8";
    case DType::String: return "string";
    case DType::Int64: return "int64";
    case DType::Bool: return "bool";
    case DType::BFloat16: return "bfloat16";
    case DType::UInt16: return "uint16";
    case DType::Half: return "float16";
    case DType::Resource: return "resource";
    case DType::Variant: return "variant";
    case DType::UInt32: return "uint32";
    case DType::UInt64: return "uint64";
  }
  return "unknown";
}

}  // namespace rf
