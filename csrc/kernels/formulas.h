// The formula of every elementwise op, once, for loops, fused loops and other back ends alike.
//
// A formula is a functor on scalars: no state but its constants, no control flow that a vector unit could not
// take as selects. Reals use rf::math for what is not an operator. Semantics are TensorFlow's, NaN travels as in NumPy.
#pragma once

#include "kernels/vector_math.h"

namespace rf::formula {

using math::is_real;

// Integer arithmetic wraps around: overflow of signed integers is undefined in C++.
#define RF_ARITHMETIC(NAME, OP)                                                                \
  struct NAME {                                                                                \
    template <class T>                                                                         \
    T operator()(T a, T b) const {                                                             \
      if constexpr (is_real<T>)                                                                \
        return a OP b;                                                                         \
      else                                                                                     \
        return static_cast<T>(static_cast<uint64_t>(a) OP static_cast<uint64_t>(b));           \
    }                                                                                          \
  };
RF_ARITHMETIC(Add, +)
RF_ARITHMETIC(Sub, -)
RF_ARITHMETIC(Mul, *)
#undef RF_ARITHMETIC

#define RF_UNARY(NAME, EXPRESSION)                \
  struct NAME {                                   \
    template <class T>                            \
    T operator()(T x) const {                     \
      return EXPRESSION;                          \
    }                                             \
  };
#define RF_BINARY(NAME, EXPRESSION)               \
  struct NAME {                                   \
    template <class T>                            \
    T operator()(T a, T b) const {                \
      return EXPRESSION;                          \
    }                                             \
  };
#define RF_GRADIENT(NAME, VALUE, EXPRESSION)      \
  struct NAME {                                   \
    template <class T>                            \
    T operator()(T VALUE, T dy) const {           \
      return EXPRESSION;                          \
    }                                             \
  };
#define RF_PREDICATE(NAME, EXPRESSION)            \
  struct NAME {                                   \
    template <class T>                            \
    bool operator()(T a, T b) const {             \
      return EXPRESSION;                          \
    }                                             \
  };

// ---- math ----
struct Neg {
  template <class T>
  T operator()(T x) const {
    if constexpr (is_real<T>)
      return -x;
    else
      return Sub()(T(0), x);
  }
};
RF_UNARY(Square, Mul()(x, x))
struct Abs {
  template <class T>
  T operator()(T x) const {
    if constexpr (is_real<T>)
      return math::abs(x);
    else
      return x < T(0) ? Neg()(x) : x;
  }
};
RF_UNARY(Sign, x > T(0) ? T(1) : x < T(0) ? T(-1) : x)
RF_UNARY(Reciprocal, T(1) / x)
RF_UNARY(Sqrt, math::sqrt(x))
RF_UNARY(Rsqrt, T(1) / math::sqrt(x))
RF_UNARY(Exp, math::exp(x))
RF_UNARY(Log, math::log(x))
RF_UNARY(Log1p, math::log1p(x))
RF_UNARY(Floor, math::floor(x))
RF_UNARY(Ceil, math::ceil(x))
RF_UNARY(Expm1, x > T(50) ? math::exp(x) - T(1) : math::expm1(x))
RF_UNARY(Sin, math::sin(x))
RF_UNARY(Cos, math::cos(x))

RF_BINARY(RealDiv, a / b)
RF_BINARY(DivNoNan, b == T(0) ? T(0) : a / b)
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    const T most = a > b ? a : b;  // b where either is NaN
    return a == a ? most : a;
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    const T least = a < b ? a : b;
    return a == a ? least : a;
  }
};
struct SquaredDifference {
  template <class T>
  T operator()(T a, T b) const {
    return Square()(Sub()(a, b));
  }
};
// Integers: b != 0 is the caller's duty. A quotient by -1 is a negation, which cannot trap.
struct Round {
  template <class T>
  T operator()(T x) const {
    if constexpr (is_real<T>)
      return math::round_half_even(x);
    else
      return x;
  }
};

struct FloorDiv {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (is_real<T>) {
      return math::floor(a / b);
    } else {
      if (b == T(-1)) return Neg()(a);
      const T q = static_cast<T>(a / b);
      return static_cast<T>((a % b != 0) & ((a < T(0)) != (b < T(0))) ? q - 1 : q);
    }
  }
};
struct FloorMod {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (is_real<T>) {
      const T r = math::fmod(a, b);
      return r == T(0) ? math::copysign(r, b) : (r < T(0)) != (b < T(0)) ? r + b : r;
    } else {
      if (b == T(-1)) return T(0);
      const T r = static_cast<T>(a % b);
      return static_cast<T>((r != 0) & ((r < T(0)) != (b < T(0))) ? r + b : r);
    }
  }
};
// Integers: b >= 0 is the caller's duty.
struct Pow {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (is_real<T>) {
      return math::pow(a, b);
    } else {
      T power = T(1);
      for (; b > T(0); b = static_cast<T>(b / 2), a = Mul()(a, a))
        if (b % 2) power = Mul()(power, a);
      return power;
    }
  }
};

// ---- comparisons and logic ----
RF_PREDICATE(Less, a < b)
RF_PREDICATE(LessEqual, a <= b)
RF_PREDICATE(Greater, a > b)
RF_PREDICATE(GreaterEqual, a >= b)
RF_PREDICATE(Equal, a == b)
RF_PREDICATE(NotEqual, a != b)
RF_PREDICATE(LogicalAnd, a & b)
RF_PREDICATE(LogicalOr, a | b)
struct LogicalNot {
  bool operator()(bool x) const { return !x; }
};
struct IsNan {
  template <class T>
  bool operator()(T x) const {
    return x != x;
  }
};
struct IsInf {
  template <class T>
  bool operator()(T x) const {
    return math::abs(x) == math::infinity<T>;
  }
};
struct IsFinite {
  template <class T>
  bool operator()(T x) const {
    return math::abs(x) < math::infinity<T>;
  }
};

// ---- activations ----
RF_UNARY(Relu, x < T(0) ? T(0) : x)
RF_UNARY(Relu6, x < T(0) ? T(0) : x > T(6) ? T(6) : x)
RF_UNARY(Elu, x < T(0) ? math::expm1(x) : x)
RF_UNARY(Sigmoid, math::sigmoid(x))
RF_UNARY(Tanh, math::tanh(x))
RF_UNARY(Softplus, math::softplus(x))
struct LeakyRelu {
  double alpha;
  template <class T>
  T operator()(T x) const {
    return x < T(0) ? static_cast<T>(alpha) * x : x;
  }
};

// ---- gradients: (what the op's gradient is a function of, dy). The op's input order may be the reverse. ----
RF_GRADIENT(ReluGrad, x, x > T(0) ? dy : T(0))
RF_GRADIENT(Relu6Grad, x, (x > T(0)) & (x < T(6)) ? dy : T(0))
RF_GRADIENT(EluGrad, y, y < T(0) ? (y + T(1)) * dy : dy)
RF_GRADIENT(SigmoidGrad, y, dy * y * (T(1) - y))
RF_GRADIENT(TanhGrad, y, dy * (T(1) - y * y))
RF_GRADIENT(SoftplusGrad, x, dy * math::sigmoid(x))
RF_GRADIENT(SqrtGrad, y, dy * T(0.5) / y)
RF_GRADIENT(RsqrtGrad, y, T(-0.5) * dy * (y * y * y))
RF_GRADIENT(ReciprocalGrad, y, -dy * y * y)
struct LeakyReluGrad {
  double alpha;
  template <class T>
  T operator()(T x, T dy) const {
    return x > T(0) ? dy : static_cast<T>(alpha) * dy;
  }
};
// A formula whose operands come the other way round.
template <class F>
struct Swapped : F {
  template <class T>
  auto operator()(T a, T b) const {
    return F::operator()(b, a);
  }
};

#undef RF_UNARY
#undef RF_BINARY
#undef RF_GRADIENT
#undef RF_PREDICATE

}  // namespace rf::formula
