// The update rules of the optimizers, once, for the dense and the sparse kernels.
//
// A rule is a functor on references to one element of each slot and the gradient. The order of operations is part of
// the contract: a dense step and a sparse step over all rows give the same bits.
#pragma once

#include <cmath>

#include "kernels/vector_math.h"

namespace rf::rule {

// var -= lr * g
template <class T>
struct GradientDescent {
  T lr;
  void operator()(T& var, T g) const { var -= lr * g; }
};

// accum = momentum * accum + g;  var -= lr * accum, or with Nesterov lr * (g + momentum * accum)
template <class T, bool kNesterov>
struct Momentum {
  T lr, momentum;
  void operator()(T& var, T& accum, T g) const {
    const T a = accum * momentum + g;
    accum = a;
    var -= lr * (kNesterov ? g + momentum * a : a);
  }
};

// accum += g^2;  var -= lr * g / sqrt(accum)
template <class T, bool kUpdateSlots>
struct Adagrad {
  T lr;
  void operator()(T& var, T& accum, T g) const {
    const T a = kUpdateSlots ? accum + g * g : accum;
    accum = a;
    var -= lr * g / math::sqrt(a);
  }
};

// The same with var -= lr * g / (sqrt(accum) + epsilon)
template <class T, bool kUpdateSlots>
struct AdagradV2 {
  T lr, epsilon;
  void operator()(T& var, T& accum, T g) const {
    const T a = kUpdateSlots ? accum + g * g : accum;
    accum = a;
    var -= lr * g / (math::sqrt(a) + epsilon);
  }
};

// a = accum + g^2;  linear += g - (a^-p - accum^-p) / lr * var;  accum = a;  var = 0 where |linear| <= l1, else
// (sign(linear) l1 - linear) / (a^-p / lr + 2 l2). With kScaled all terms of `linear` are lr times as large.
template <class T, bool kSquareRoot, bool kScaled>
struct Ftrl {
  T lr, l1, l2, lr_power;
  T raised(T x) const { return kSquareRoot ? math::sqrt(x) : std::pow(x, -lr_power); }
  void operator()(T& var, T& accum, T& linear, T g) const {
    const T a = accum + g * g, now = raised(a), change = now - raised(accum);
    const T z = linear + (kScaled ? g * lr - change * var : g - change / lr * var);
    const T bound = kScaled ? l1 * lr : l1, quadratic = kScaled ? now + 2 * l2 * lr : now / lr + 2 * l2;
    const T size = z < T(0) ? -z : z, target = (z < T(0) ? -bound : bound) - z;
    accum = a;
    linear = z;
    var = size > bound ? target / quadratic : T(0);
  }
};

// accum = rho accum + (1 - rho) g^2;  u = g sqrt(delta + epsilon) / sqrt(accum + epsilon);  var -= lr * u;
// delta = rho delta + (1 - rho) u^2
template <class T>
struct Adadelta {
  T lr, rho, epsilon;
  void operator()(T& var, T& accum, T& delta, T g) const {
    const T a = accum * rho + g * g * (T(1) - rho);
    const T u = math::sqrt(delta + epsilon) / math::sqrt(a + epsilon) * g;
    accum = a;
    delta = delta * rho + u * u * (T(1) - rho);
    var -= lr * u;
  }
};

// m += (g - m)(1 - beta1);  v += (g^2 - v)(1 - beta2);  var -= lr_t * m / (sqrt(v) + epsilon), where
// lr_t = lr * sqrt(1 - beta2^t) / (1 - beta1^t); with Nesterov m is replaced by beta1 * m + (1 - beta1) * g
template <class T, bool kNesterov>
struct Adam {
  T lr_t, beta1, one_minus_beta1, one_minus_beta2, epsilon;
  void operator()(T& var, T& m, T& v, T g) const {
    const T mean = m + (g - m) * one_minus_beta1, square = v + (g * g - v) * one_minus_beta2;
    m = mean;
    v = square;
    var -= lr_t * (kNesterov ? beta1 * mean + one_minus_beta1 * g : mean) / (math::sqrt(square) + epsilon);
  }
};

// ms += (g^2 - ms)(1 - rho);  mom = momentum * mom + lr * g / sqrt(ms + epsilon);  var -= mom
template <class T>
struct RmsProp {
  T lr, one_minus_rho, momentum, epsilon;
  void operator()(T& var, T& ms, T& mom, T g) const {
    const T square = ms + (g * g - ms) * one_minus_rho;
    const T step = mom * momentum + lr * g / math::sqrt(square + epsilon);
    ms = square;
    mom = step;
    var -= step;
  }
};

}  // namespace rf::rule
