// What one core can do at most: independent float32 multiply-adds between registers, at the width that kernels use
// (base/simd.h). Products and convolutions are measured against it. Thread-safe.
#pragma once

#include <cstdint>

namespace rf {

// Does `steps` rounds of them. Returns how many floating-point operations that were, a multiply-add being two.
int64_t multiply_adds(int64_t steps);

}  // namespace rf
