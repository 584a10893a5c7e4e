// The update rules of the optimizers, once, for the dense and the sparse kernels.
//
// A rule is a functor on references to one element of each slot and the gradient. The order of operations is part of
// the contract: a dense step and a sparse step over all rows give the same bits.
#pragma once

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
