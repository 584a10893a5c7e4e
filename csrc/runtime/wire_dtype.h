// Gradients that travel in 16 bits, with error feedback: what rounding has cost a gradient is added to the next one.
//
// A word is round(x / P + residual); the residual becomes what was lost. So the sums that a rank has sent over many
// steps differ from those of its gradients by one rounding, not by one a step. Dividing before the cast keeps the sum of
// P ranks within float16. A word that is not finite leaves no residual: an overflow does not outlive its step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace rf {

struct WireDType {
  DType dtype = DType::Invalid;  // Invalid: values travel as they are
  bool truncate = false;         // bfloat16 by dropping 16 bits, as TensorFlow does

  explicit operator bool() const { return dtype != DType::Invalid; }
};

// "", "bfloat16 nearest", "bfloat16 truncate" or "float16 nearest"; InvalidArgument otherwise.
WireDType wire_dtype_of(const std::string& text);

// words[i] = narrow(in[i] * scale + residual[i]); residual[i] = what that leaves. `in` is float or double.
void compress(WireDType wire, DType dtype, const void* in, double scale, int64_t count, float* residual, void* words);
void expand(WireDType wire, DType dtype, const void* words, int64_t count, void* out);

}  // namespace rf
