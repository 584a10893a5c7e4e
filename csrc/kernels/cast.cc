// Cast between all fixed-size dtypes.
//
// To bool: x != 0. Real to integer truncates towards zero. The 16-bit reals pass through float32, block by block, so
// that they add four loops and not four for each other dtype. With Truncate, float32 to bfloat16 drops the lower 16 bits.
#include <algorithm>
#include <type_traits>

#include "kernels/kernel.h"

namespace rf {
namespace {

template <class T>
constexpr bool is_16_bit = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <class S, class D>
void convert(const S* x, D* y, int64_t n) {
  const auto loop = [=] {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<D, bool>)
        y[i] = x[i] != S(0);
      else if constexpr (std::is_same_v<S, bool>)
        y[i] = static_cast<D>(reinterpret_cast<const uint8_t*>(x)[i]);  // a conversion from bool is a branch
      else
        y[i] = static_cast<D>(x[i]);
    }
  };
  // the conversions of a training step run on the vector unit, the others stay small
  if constexpr (std::is_same_v<D, float> || std::is_same_v<S, float>)
    vectorised(loop);
  else
    loop();
}

void truncate(const void* from, void* to, int64_t n) {
  const uint32_t* x = static_cast<const uint32_t*>(from);
  uint16_t* y = static_cast<uint16_t*>(to);
  for (int64_t i = 0; i < n; ++i) {
    const bool nan = (x[i] & 0x7fffffffu) > 0x7f800000u;
    y[i] = static_cast<uint16_t>(nan ? (x[i] >> 16) | 0x40u : x[i] >> 16);
  }
}

template <class S, class D>
void cast(const void* from, void* to, int64_t n) {
  const S* x = static_cast<const S*>(from);
  D* y = static_cast<D*>(to);
  if constexpr ((is_16_bit<S> && !std::is_same_v<D, float>) || (is_16_bit<D> && !std::is_same_v<S, float>)) {
    constexpr int64_t kBlock = 1024;
    float block[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t size = std::min(kBlock, n - i);
      convert(x + i, block, size);
      convert(block, y + i, size);
    }
  } else {
    convert(x, y, n);
  }
}

Kernel cast_kernel(const Node& node) {
  const DType from = node.attr<DType>("SrcT"), to = value_dtype(static_cast<int64_t>(node.attr<DType>("DstT")));
  using Convert = void (*)(const void*, void*, int64_t);
  const bool shortens = node.attr<bool>("Truncate", false) && value_dtype(static_cast<int64_t>(from)) == DType::Float &&
                        to == DType::BFloat16;
  const Convert convert = shortens ? &truncate : visit(value_dtype(static_cast<int64_t>(from)), [&](auto source) -> Convert {
    return visit(to, [&](auto target) -> Convert {
      return &cast<typename decltype(source)::type, typename decltype(target)::type>;
    });
  });
  return [convert, from = value_dtype(static_cast<int64_t>(from)), to](Context& c) {
    const Tensor& x = c.input(0);
    Tensor& y = c.output(0, x.shape());
    check(x.dtype() == from && y.dtype() == to, "[Cast] x and y must be ", name_of(from), " and ", name_of(to), ": got ",
          name_of(x.dtype()), " and ", name_of(y.dtype()));
    convert(x.raw(), y.raw(), x.num_elements());
  };
}

RF_KERNEL_ANY("Cast", InPlace, cast_kernel)

}  // namespace
}  // namespace rf
