#include "collectives/reduction.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/simd.h"

namespace rf {
namespace {

constexpr int64_t kBlockBytes = 8192;  // the partial result of a block stays in the first-level cache

template <class T>
constexpr bool kIsHalf = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

// Signed integers are added and multiplied as unsigned ones: wrapping is then defined.
template <class T>
struct Wrapping {
  using type = T;
};
template <>
struct Wrapping<int8_t> : std::make_unsigned<int8_t> {};
template <>
struct Wrapping<int16_t> {
  using type = uint32_t;  // uint16_t would be promoted to a signed int
};
template <>
struct Wrapping<uint16_t> {
  using type = uint32_t;
};
template <>
struct Wrapping<int32_t> : std::make_unsigned<int32_t> {};
template <>
struct Wrapping<int64_t> : std::make_unsigned<int64_t> {};
template <class T>
using wrapping_t = typename Wrapping<T>::type;

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<wrapping_t<T>>(a) + static_cast<wrapping_t<T>>(b));
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<wrapping_t<T>>(a) * static_cast<wrapping_t<T>>(b));
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return (a < b || a != a) ? a : b;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return (a > b || a != a) ? a : b;
  }
};

template <class F>
void visit_operator(Reduction reduction, F&& f) {
  switch (reduction) {
    case Reduction::Min: return f(Minimum{});
    case Reduction::Max: return f(Maximum{});
    case Reduction::Prod: return f(Multiply{});
    default: return f(Add{});
  }
}

// out and the inputs are the same array or do not overlap: iterations are independent.
template <class T, class Op>
void combine(T* out, const T* a, const T* b, int64_t n, Op op) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = op(a[i], b[i]);
}

template <class T>
void scale(T* data, int64_t n, int divisor) {
  const T d = static_cast<T>(divisor), inverse = T(1) / d;
  if ((divisor & (divisor - 1)) == 0) {  // the product is then the quotient, bit for bit
    for (int64_t i = 0; i < n; ++i) data[i] *= inverse;
  } else {
    for (int64_t i = 0; i < n; ++i) data[i] /= d;
  }
}

template <class T, class Op>
void reduce_plain(T* out, const T* const* sources, int p, int64_t n, bool mean, Op op) {
  constexpr int64_t block = kBlockBytes / static_cast<int64_t>(sizeof(T));
  const bool late = std::find(sources + std::min(p, 2), sources + p, out) != sources + p;  // it still has to be read
  alignas(64) T scratch[block];
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t size = std::min(block, n - begin);
    T* o = late ? scratch : out + begin;
    if (p == 1) {
      if (o != sources[0] + begin) std::memcpy(o, sources[0] + begin, static_cast<size_t>(size) * sizeof(T));
      continue;
    }
    combine(o, sources[0] + begin, sources[1] + begin, size, op);
    for (int r = 2; r < p; ++r) combine(o, static_cast<const T*>(o), sources[r] + begin, size, op);
    if constexpr (std::is_floating_point_v<T>)
      if (mean) scale(o, size, p);
    if (late) std::memcpy(out + begin, o, static_cast<size_t>(size) * sizeof(T));
  }
}

template <class T, class Op>
void reduce_half(T* out, const T* const* sources, int p, int64_t n, bool mean, Op op) {
  constexpr int64_t block = 1024;
  float sum[block], next[block];
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t size = std::min(block, n - begin);
    for (int64_t i = 0; i < size; ++i) sum[i] = sources[0][begin + i];
    for (int r = 1; r < p; ++r) {
      for (int64_t i = 0; i < size; ++i) next[i] = sources[r][begin + i];
      combine(sum, static_cast<const float*>(sum), static_cast<const float*>(next), size, op);
    }
    if (mean) scale(sum, size, p);
    for (int64_t i = 0; i < size; ++i) out[begin + i] = T(sum[i]);
  }
}

}  // namespace

const char* name_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::Sum: return "sum";
    case Reduction::Mean: return "mean";
    case Reduction::Min: return "min";
    case Reduction::Max: return "max";
    case Reduction::Prod: return "prod";
  }
  return "?";
}

Reduction reduction_of(const std::string& name) {
  for (Reduction r : {Reduction::Sum, Reduction::Mean, Reduction::Min, Reduction::Max, Reduction::Prod})
    if (name == name_of(r)) return r;
  if (name == "average") return Reduction::Mean;
  fail(Code::InvalidArgument, "[allreduce] op must be sum, mean (average), min, max or prod: got '", name, "'");
}

void check_reduction(DType dtype, Reduction reduction) {
  check(size_of(dtype) > 0, "[allreduce] ", name_of(dtype), " cannot be reduced");
  const bool is_float =
      dtype == DType::Float || dtype == DType::Double || dtype == DType::Half || dtype == DType::BFloat16;
  check(reduction != Reduction::Mean || is_float, "[allreduce] the mean of ", name_of(dtype),
        " would be truncated. Fix: reduce with op='sum' and divide, or cast to float32 first.");
}

void reduce(DType dtype, Reduction reduction, void* out, const void* const* sources, int num_sources, int64_t count) {
  const bool mean = reduction == Reduction::Mean;
  visit(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* o = static_cast<T*>(out);
    const T* const* in = reinterpret_cast<const T* const*>(sources);
    visit_operator(reduction, [&](auto op) {
      vectorised([&] {
        if constexpr (kIsHalf<T>)
          reduce_half(o, in, num_sources, count, mean, op);
        else
          reduce_plain(o, in, num_sources, count, mean, op);
      });
    });
  });
}

void accumulate(DType dtype, Reduction reduction, void* accumulator, const void* other, int64_t count) {
  const void* sources[] = {other, accumulator};
  reduce(dtype, reduction == Reduction::Mean ? Reduction::Sum : reduction, accumulator, sources, 2, count);
}

void divide(DType dtype, void* data, int64_t count, int divisor) {
  visit(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_floating_point_v<T>)
      vectorised([&] { scale(static_cast<T*>(data), count, divisor); });
    else
      fail(Code::Internal, "cannot divide ", name_of(dtype));
  });
}

void widen(DType dtype, const void* in, float* out, int64_t count) {
  if (dtype == DType::Half)
    vectorised([&] { for (int64_t i = 0; i < count; ++i) out[i] = static_cast<const Half*>(in)[i]; });
  else
    vectorised([&] { for (int64_t i = 0; i < count; ++i) out[i] = static_cast<const BFloat16*>(in)[i]; });
}

void narrow(DType dtype, const float* in, void* out, int64_t count) {
  if (dtype == DType::Half)
    vectorised([&] { for (int64_t i = 0; i < count; ++i) static_cast<Half*>(out)[i] = Half(in[i]); });
  else
    vectorised([&] { for (int64_t i = 0; i < count; ++i) static_cast<BFloat16*>(out)[i] = BFloat16(in[i]); });
}

}  // namespace rf
