// Optimizer updates: one fused pass over the variable, its slots and the gradient (dense), or over the rows that
// `indices` names (sparse; duplicates apply one after the other, in order).
#include <cmath>

#include "kernels/index.h"
#include "kernels/training.h"

namespace rf {
namespace {

// Scalar input i: a learning rate, a decay, ...
template <class T>
T hyper(const Context& c, int i) {
  const Tensor& t = c.input(i);
  check(t.num_elements() == 1, "[", c.node().op, "] input ", i, " must be a scalar: got shape ", t.shape());
  return *t.data<T>();
}

template <class T>
T* slot(Context& c, int i, const Shape& shape) {
  Tensor& t = c.mutable_input(i);
  check(t.shape() == shape, "[", c.node().op, "] slot input ", i, " must have the variable's shape ", shape, ": got ",
        t.shape());
  return t.data<T>();
}

// Applies a rule to n elements of the slots and the gradient.
template <class T, class Rule, class... Slot>
void pass(const Rule& rule, int64_t n, const T* g, Slot*... slots) {
  vectorised([=] {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) rule(slots[i]..., g[i]);
  });
}

// Dense: every element. Slots are the first inputs.
template <class T, class Rule>
void dense(Context& c, const Rule& rule, int slots, int grad_input) {
  Tensor& var = c.mutable_input(0);
  const Tensor& g = c.input(grad_input);
  check(g.shape() == var.shape(), "[", c.node().op, "] the gradient must have the variable's shape ", var.shape(),
        ": got ", g.shape());
  T* s[3] = {var.data<T>(), nullptr, nullptr};
  for (int k = 1; k < slots; ++k) s[k] = slot<T>(c, k, var.shape());
  const int64_t n = var.num_elements();
  if constexpr (std::is_invocable_v<Rule, T&, T>)
    pass(rule, n, g.data<T>(), s[0]);
  else if constexpr (std::is_invocable_v<Rule, T&, T&, T>)
    pass(rule, n, g.data<T>(), s[0], s[1]);
  else
    pass(rule, n, g.data<T>(), s[0], s[1], s[2]);
  c.set_ref_output(0, c.variable(0));
}

// Sparse: rows of the variable and of its slot.
template <class T, class Rule>
void sparse(Context& c, const Rule& rule, int grad_input, int indices_input) {
  Tensor& var = c.mutable_input(0);
  const Tensor &g = c.input(grad_input), &indices = c.input(indices_input);
  check(var.shape().rank() >= 1, "[", c.node().op, "] var must have at least one dimension");
  Shape expected{indices.num_elements()};
  for (int i = 1; i < var.shape().rank(); ++i) expected.add(var.dim(i));
  check(indices.shape().rank() == 1 && g.shape() == expected, "[", c.node().op,
        "] indices must be a vector and the gradient have the shape ", expected, ": got ", indices.shape(), " and ",
        g.shape());
  T *v = var.data<T>(), *accum = slot<T>(c, 1, var.shape());
  const int64_t inner = var.shape().product(1, var.shape().rank()), n = indices.num_elements();
  const T* in = g.data<T>();
  visit_index(indices.dtype(), [&](auto tag) {
    const auto* index = indices.data<typename decltype(tag)::type>();
    check_indices(c, index, n, var.dim(0));
    vectorised([=] {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = static_cast<int64_t>(index[i]) * inner;
        T *p = v + at, *q = accum + at;
        const T* d = in + i * inner;
#pragma GCC ivdep
        for (int64_t j = 0; j < inner; ++j) rule(p[j], q[j], d[j]);
      }
    });
  });
  c.set_ref_output(0, c.variable(0));
}

template <class T>
Kernel gradient_descent(const Node&) {
  return [](Context& c) { dense<T>(c, rule::GradientDescent<T>{hyper<T>(c, 1)}, 1, 2); };
}

template <class T>
Kernel momentum(const Node& node) {
  if (node.attr<bool>("use_nesterov", false))
    return [](Context& c) { dense<T>(c, rule::Momentum<T, true>{hyper<T>(c, 2), hyper<T>(c, 4)}, 2, 3); };
  return [](Context& c) { dense<T>(c, rule::Momentum<T, false>{hyper<T>(c, 2), hyper<T>(c, 4)}, 2, 3); };
}

template <class T>
Kernel adagrad(const Node& node) {
  if (node.attr<bool>("update_slots", true))
    return [](Context& c) { dense<T>(c, rule::Adagrad<T, true>{hyper<T>(c, 2)}, 2, 3); };
  return [](Context& c) { dense<T>(c, rule::Adagrad<T, false>{hyper<T>(c, 2)}, 2, 3); };
}

template <class T, bool kNesterov>
void adam_step(Context& c) {
  const T beta1_power = hyper<T>(c, 3), beta2_power = hyper<T>(c, 4), lr = hyper<T>(c, 5), beta1 = hyper<T>(c, 6);
  const T beta2 = hyper<T>(c, 7), epsilon = hyper<T>(c, 8);
  const T lr_t = lr * std::sqrt(T(1) - beta2_power) / (T(1) - beta1_power);
  dense<T>(c, rule::Adam<T, kNesterov>{lr_t, beta1, T(1) - beta1, T(1) - beta2, epsilon}, 3, 9);
}

template <class T>
Kernel adam(const Node& node) {
  return node.attr<bool>("use_nesterov", false) ? &adam_step<T, true> : &adam_step<T, false>;
}

template <class T>
Kernel rms_prop(const Node&) {
  return [](Context& c) {
    const T lr = hyper<T>(c, 3), rho = hyper<T>(c, 4), mu = hyper<T>(c, 5), epsilon = hyper<T>(c, 6);
    dense<T>(c, rule::RmsProp<T>{lr, T(1) - rho, mu, epsilon}, 3, 7);
  };
}

template <class T>
Kernel sparse_momentum(const Node& node) {
  if (node.attr<bool>("use_nesterov", false))
    return [](Context& c) { sparse<T>(c, rule::Momentum<T, true>{hyper<T>(c, 2), hyper<T>(c, 5)}, 3, 4); };
  return [](Context& c) { sparse<T>(c, rule::Momentum<T, false>{hyper<T>(c, 2), hyper<T>(c, 5)}, 3, 4); };
}

template <class T>
Kernel sparse_adagrad(const Node& node) {
  if (node.attr<bool>("update_slots", true))
    return [](Context& c) { sparse<T>(c, rule::Adagrad<T, true>{hyper<T>(c, 2)}, 3, 4); };
  return [](Context& c) { sparse<T>(c, rule::Adagrad<T, false>{hyper<T>(c, 2)}, 3, 4); };
}

RF_KERNEL("ApplyGradientDescent", gradient_descent, float, double)
RF_KERNEL("ApplyMomentum", momentum, float, double)
RF_KERNEL("ApplyAdagrad", adagrad, float, double)
RF_KERNEL("ApplyAdam", adam, float, double)
RF_KERNEL("ApplyRMSProp", rms_prop, float, double)
RF_KERNEL("SparseApplyMomentum", sparse_momentum, float, double)
RF_KERNEL("SparseApplyAdagrad", sparse_adagrad, float, double)

}  // namespace
}  // namespace rf
