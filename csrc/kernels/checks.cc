// CheckNumerics and Assert: they stop the step with InvalidArgument.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "kernels/elementwise.h"

namespace rf {
namespace {

template <class T>
Kernel check_numerics(const Node& node) {
  return [message = node.attr<std::string>("message")](Context& c) {
    const Tensor& x = c.input(0);
    const T* in = x.data<T>();
    const int64_t n = x.num_elements();
    T sum = T(0);  // x * 0 is 0 for numbers, NaN for the others
    T* total = &sum;
    vectorised([=] {
      T s = T(0);
      for (int64_t i = 0; i < n; ++i) s += in[i] * T(0);
      *total = s;
    });
    if (sum != sum) {
      const bool inf = std::any_of(in, in + n, [](T v) { return std::isinf(v); });
      const bool nan = std::any_of(in, in + n, [](T v) { return std::isnan(v); });
      fail(Code::InvalidArgument, message, " : Tensor had ", inf ? "Inf" : "", inf && nan ? " and " : "",
           nan ? "NaN" : "", " values");
    }
    c.set_output(0, x);
  };
}

void show(std::ostream& out, const Tensor& t, int64_t summarize) {
  const int64_t n = summarize < 0 ? t.num_elements() : std::min(summarize, t.num_elements());
  out << '[';
  if (t.dtype() == DType::String) {
    for (int64_t i = 0; i < n; ++i) out << (i ? " " : "") << t.data<std::string>()[i];
    out << ']';
    return;
  }
  visit(t.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* data = t.data<T>();
    for (int64_t i = 0; i < n; ++i) {
      out << (i ? " " : "");
      if constexpr (std::is_arithmetic_v<T>)
        out << +data[i];
      else
        out << static_cast<float>(data[i]);
    }
  });
  out << ']';
}

Kernel assert_true(const Node& node) {
  return [summarize = node.attr<int64_t>("summarize", 3)](Context& c) {
    if (c.input(0).scalar<bool>()) return;
    std::ostringstream text;
    for (int i = 1; i < c.num_inputs(); ++i) {
      text << ' ';
      show(text, c.input(i), summarize);
    }
    fail(Code::InvalidArgument, "assertion failed:", text.str());
  };
}

RF_REGISTER("CheckNumerics", "T", Alias, check_numerics, float, double);
RF_KERNEL_ANY("Assert", None, assert_true)

}  // namespace
}  // namespace rf
