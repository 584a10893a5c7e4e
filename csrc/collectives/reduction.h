// Elementwise reduction of equal arrays: the arithmetic of every allreduce.
//
// Deterministic: source 0 first, then 1, ... in that order, whatever the block size or the vector unit. 16-bit floats
// are summed in float32 and rounded once. NaN travels, through min and max too. Integer sums wrap. Of bool, sum and max
// are "any", prod and min are "all".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace rf {

enum class Reduction : int32_t { Sum, Mean, Min, Max, Prod };

const char* name_of(Reduction reduction);              // "sum", "mean", "min", "max", "prod"
Reduction reduction_of(const std::string& name);       // "average" is "mean"; InvalidArgument otherwise
// InvalidArgument where `reduction` has no meaning for `dtype`: the mean of integers and bool.
void check_reduction(DType dtype, Reduction reduction);

// out[i] = sources[0][i] op sources[1][i] op ...; for the mean divided by num_sources. `out` may be one of the sources.
void reduce(DType dtype, Reduction reduction, void* out, const void* const* sources, int num_sources, int64_t count);
// accumulator[i] = other[i] op accumulator[i], the mean as a sum.
void accumulate(DType dtype, Reduction reduction, void* accumulator, const void* other, int64_t count);
// data[i] /= divisor, for floats.
void divide(DType dtype, void* data, int64_t count, int divisor);

// Conversion between a 16-bit float and float32.
void widen(DType dtype, const void* in, float* out, int64_t count);
void narrow(DType dtype, const float* in, void* out, int64_t count);
// f(data, dtype), on a float32 copy for 16-bit floats, which is rounded to `data` afterwards.
template <class F>
void widened(void* data, int64_t count, DType dtype, F&& f) {
  if (dtype != DType::Half && dtype != DType::BFloat16) return f(data, dtype);
  std::vector<float> wide(static_cast<size_t>(count));
  widen(dtype, data, wide.data(), count);
  f(wide.data(), DType::Float);
  narrow(dtype, wide.data(), data, count);
}

}  // namespace rf
