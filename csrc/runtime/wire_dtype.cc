#include "runtime/wire_dtype.h"

#include "base/error.h"
#include "base/half.h"
#include "base/simd.h"

namespace rf {
namespace {

struct Truncated {  // bfloat16 without rounding; a NaN stays one
  uint16_t bits;
  explicit Truncated(float x) {
    const uint32_t u = detail::bits_of(x);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>((u >> 16) | (nan ? 0x40u : 0u));
  }
  operator float() const { return detail::float_of(static_cast<uint32_t>(bits) << 16); }
};

template <class Word, class T>
void compress_all(const T* in, float scale, int64_t n, float* residual, void* words) {
  Word* out = static_cast<Word*>(words);
  vectorised([=] {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const float x = static_cast<float>(in[i]) * scale + residual[i];
      const Word w(x);
      const float lost = x - static_cast<float>(w);
      out[i] = w;
      residual[i] = lost - lost == 0.0f ? lost : 0.0f;
    }
  });
}

template <class Word, class T>
void expand_all(const void* words, int64_t n, T* out) {
  const Word* in = static_cast<const Word*>(words);
  vectorised([=] {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(static_cast<float>(in[i]));
  });
}

template <class F>
void visit_float(DType dtype, F f) {
  if (dtype == DType::Float) return f(float{});
  if (dtype == DType::Double) return f(double{});
  fail(Code::InvalidArgument, "[wire_dtype] only float32 and float64 can travel in 16 bits, not ", name_of(dtype));
}

}  // namespace

WireDType wire_dtype_of(const std::string& text) {
  if (text.empty()) return {};
  if (text == "bfloat16 nearest") return {DType::BFloat16, false};
  if (text == "bfloat16 truncate") return {DType::BFloat16, true};
  if (text == "float16 nearest") return {DType::Half, false};
  fail(Code::InvalidArgument, "[wire_dtype] it must be bfloat16 nearest, bfloat16 truncate or float16 nearest: got '",
       text, "'");
}

void compress(WireDType wire, DType dtype, const void* in, double scale, int64_t count, float* residual, void* words) {
  visit_float(dtype, [&](auto zero) {
    const auto* x = static_cast<const decltype(zero)*>(in);
    const float s = static_cast<float>(scale);
    if (wire.dtype == DType::Half)
      compress_all<Half>(x, s, count, residual, words);
    else if (wire.truncate)
      compress_all<Truncated>(x, s, count, residual, words);
    else
      compress_all<BFloat16>(x, s, count, residual, words);
  });
}

void expand(WireDType wire, DType dtype, const void* words, int64_t count, void* out) {
  visit_float(dtype, [&](auto zero) {
    auto* y = static_cast<decltype(zero)*>(out);
    if (wire.dtype == DType::Half)
      expand_all<Half>(words, count, y);
    else
      expand_all<BFloat16>(words, count, y);
  });
}

}  // namespace rf
