// Optimizer updates: one fused pass over the variable, its slots and the gradient (dense), or over the rows that
// `indices` names (sparse; duplicates apply one after the other, in order).
#include <cmath>

#include "kernels/elementwise.h"
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
  parallel_for(n, kParallelGrain, [=](int64_t begin, int64_t end, int) {
    vectorised([=] {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) rule(slots[i]..., g[i]);
    });
  });
}

// Which elements of a variable a dense node updates: all, or those of attr `_slice` (other ranks update the others in the
// same memory).
class Part {
 public:
  explicit Part(const Node& node) : slice_(node.list<int64_t>("_slice")), whole_(!node.has("_slice")) {}

  std::pair<int64_t, int64_t> of(const Context& c, int64_t elements) const {
    if (whole_) return {0, elements};
    check(slice_.size() == 2 && slice_[0] >= 0 && slice_[0] <= slice_[1] && slice_[1] <= elements, "[", c.node().op,
          "] attr '_slice' must be a range of the ", elements, " elements of the variable");
    return {slice_[0], slice_[1]};
  }

 private:
  std::vector<int64_t> slice_;
  bool whole_;
};

// Dense: the elements of `part`. Slots are the first inputs.
template <class T, class Rule>
void dense(Context& c, const Part& part, const Rule& rule, int slots, int grad_input) {
  Tensor& var = c.mutable_input(0);
  const Tensor& g = c.input(grad_input);
  check(g.shape() == var.shape(), "[", c.node().op, "] the gradient must have the variable's shape ", var.shape(),
        ": got ", g.shape());
  T* s[3] = {var.data<T>(), nullptr, nullptr};
  for (int k = 1; k < slots; ++k) s[k] = slot<T>(c, k, var.shape());
  const auto [begin, end] = part.of(c, var.num_elements());
  const int64_t n = end - begin;
  const T* grad = g.data<T>() + begin;
  for (int k = 0; k < slots; ++k) s[k] += begin;
  if constexpr (std::is_invocable_v<Rule, T&, T>)
    pass(rule, n, grad, s[0]);
  else if constexpr (std::is_invocable_v<Rule, T&, T&, T>)
    pass(rule, n, grad, s[0], s[1]);
  else
    pass(rule, n, grad, s[0], s[1], s[2]);
  c.set_ref_output(0, c.variable(0));
}

template <class T, class Rule>
void rows(const Rule& rule, int64_t n, const T* g, T* const (&s)[3], int64_t at) {
  if constexpr (std::is_invocable_v<Rule, T&, T&, T>) {
    T *p = s[0] + at, *q = s[1] + at;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) rule(p[j], q[j], g[j]);
  } else {
    T *p = s[0] + at, *q = s[1] + at, *r = s[2] + at;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) rule(p[j], q[j], r[j], g[j]);
  }
}

// Sparse: rows of the variable and of its slots.
template <class T, class Rule>
void sparse(Context& c, const Rule& rule, int slots, int grad_input, int indices_input) {
  Tensor& var = c.mutable_input(0);
  const Tensor &g = c.input(grad_input), &indices = c.input(indices_input);
  check(var.shape().rank() >= 1, "[", c.node().op, "] var must have at least one dimension");
  Shape expected{indices.num_elements()};
  for (int i = 1; i < var.shape().rank(); ++i) expected.add(var.dim(i));
  check(indices.shape().rank() == 1 && g.shape() == expected, "[", c.node().op,
        "] indices must be a vector and the gradient have the shape ", expected, ": got ", indices.shape(), " and ",
        g.shape());
  T* s[3] = {var.data<T>(), nullptr, nullptr};
  for (int k = 1; k < slots; ++k) s[k] = slot<T>(c, k, var.shape());
  const int64_t inner = var.shape().product(1, var.shape().rank()), n = indices.num_elements();
  const int64_t bytes = inner * static_cast<int64_t>(sizeof(T));
  const T* in = g.data<T>();
  visit_index(indices.dtype(), [&](auto tag) {
    const auto* index = indices.data<typename decltype(tag)::type>();
    check_indices(c, index, n, var.dim(0));
    vectorised([=, &s] {
      for (int64_t i = 0; i < n; ++i) {
        if (i + kRowsAhead < n)
          for (int k = 0; k < slots; ++k)
            fetch_row<true>(reinterpret_cast<char*>(s[k] + static_cast<int64_t>(index[i + kRowsAhead]) * inner), bytes);
        rows(rule, inner, in + i * inner, s, static_cast<int64_t>(index[i]) * inner);
      }
    });
  });
  c.set_ref_output(0, c.variable(0));
}

template <class T>
Kernel gradient_descent(const Node& node) {
  return [part = Part(node)](Context& c) { dense<T>(c, part, rule::GradientDescent<T>{hyper<T>(c, 1)}, 1, 2); };
}

template <class T>
Kernel momentum(const Node& node) {
  if (node.attr<bool>("use_nesterov", false))
    return [part = Part(node)](Context& c) { dense<T>(c, part, rule::Momentum<T, true>{hyper<T>(c, 2), hyper<T>(c, 4)}, 2, 3); };
  return [part = Part(node)](Context& c) { dense<T>(c, part, rule::Momentum<T, false>{hyper<T>(c, 2), hyper<T>(c, 4)}, 2, 3); };
}

template <class T>
Kernel adagrad(const Node& node) {
  if (node.attr<bool>("update_slots", true))
    return [part = Part(node)](Context& c) { dense<T>(c, part, rule::Adagrad<T, true>{hyper<T>(c, 2)}, 2, 3); };
  return [part = Part(node)](Context& c) { dense<T>(c, part, rule::Adagrad<T, false>{hyper<T>(c, 2)}, 2, 3); };
}

template <class T, bool kNesterov>
void adam_step(Context& c, const Part& part) {
  const T beta1_power = hyper<T>(c, 3), beta2_power = hyper<T>(c, 4), lr = hyper<T>(c, 5), beta1 = hyper<T>(c, 6);
  const T beta2 = hyper<T>(c, 7), epsilon = hyper<T>(c, 8);
  const T lr_t = lr * std::sqrt(T(1) - beta2_power) / (T(1) - beta1_power);
  dense<T>(c, part, rule::Adam<T, kNesterov>{lr_t, beta1, T(1) - beta1, T(1) - beta2, epsilon}, 3, 9);
}

template <class T>
Kernel adam(const Node& node) {
  if (node.attr<bool>("use_nesterov", false)) return [part = Part(node)](Context& c) { adam_step<T, true>(c, part); };
  return [part = Part(node)](Context& c) { adam_step<T, false>(c, part); };
}

template <class T>
Kernel rms_prop(const Node& node) {
  return [part = Part(node)](Context& c) {
    const T lr = hyper<T>(c, 3), rho = hyper<T>(c, 4), mu = hyper<T>(c, 5), epsilon = hyper<T>(c, 6);
    dense<T>(c, part, rule::RmsProp<T>{lr, T(1) - rho, mu, epsilon}, 3, 7);
  };
}

template <class T>
Kernel sparse_momentum(const Node& node) {
  if (node.attr<bool>("use_nesterov", false))
    return [](Context& c) { sparse<T>(c, rule::Momentum<T, true>{hyper<T>(c, 2), hyper<T>(c, 5)}, 2, 3, 4); };
  return [](Context& c) { sparse<T>(c, rule::Momentum<T, false>{hyper<T>(c, 2), hyper<T>(c, 5)}, 2, 3, 4); };
}

template <class T>
Kernel sparse_adagrad(const Node& node) {
  if (node.attr<bool>("update_slots", true))
    return [](Context& c) { sparse<T>(c, rule::Adagrad<T, true>{hyper<T>(c, 2)}, 2, 3, 4); };
  return [](Context& c) { sparse<T>(c, rule::Adagrad<T, false>{hyper<T>(c, 2)}, 2, 3, 4); };
}

template <class T, bool kSparse>
Kernel adagrad_v2(const Node& node) {
  const bool update = node.attr<bool>("update_slots", true);
  return [update, part = Part(node)](Context& c) {
    const T lr = hyper<T>(c, 2), epsilon = hyper<T>(c, 3);
    const auto step = [&](const auto& rule) {
      if constexpr (kSparse)
        sparse<T>(c, rule, 2, 4, 5);
      else
        dense<T>(c, part, rule, 2, 4);
    };
    if (update)
      step(rule::AdagradV2<T, true>{lr, epsilon});
    else
      step(rule::AdagradV2<T, false>{lr, epsilon});
  };
}

template <class T, bool kSparse>
Kernel ftrl(const Node& node) {
  const bool scaled = node.attr<bool>("multiply_linear_by_lr", false);
  return [scaled, part = Part(node)](Context& c) {
    constexpr int first = kSparse ? 5 : 4;
    const T lr = hyper<T>(c, first), l1 = hyper<T>(c, first + 1), l2 = hyper<T>(c, first + 2);
    const T power = hyper<T>(c, first + 3);
    const auto step = [&](const auto& rule) {
      if constexpr (kSparse)
        sparse<T>(c, rule, 3, 3, 4);
      else
        dense<T>(c, part, rule, 3, 3);
    };
    const bool root = power == T(-0.5);
    if (root && scaled) return step(rule::Ftrl<T, true, true>{lr, l1, l2, power});
    if (root) return step(rule::Ftrl<T, true, false>{lr, l1, l2, power});
    if (scaled) return step(rule::Ftrl<T, false, true>{lr, l1, l2, power});
    step(rule::Ftrl<T, false, false>{lr, l1, l2, power});
  };
}

template <class T, bool kSparse>
Kernel adadelta(const Node& node) {
  return [part = Part(node)](Context& c) {
    const rule::Adadelta<T> rule{hyper<T>(c, 3), hyper<T>(c, 4), hyper<T>(c, 5)};
    if constexpr (kSparse)
      sparse<T>(c, rule, 3, 6, 7);
    else
      dense<T>(c, part, rule, 3, 6);
  };
}

template <class T>
Kernel sparse_rms_prop(const Node&) {
  return [](Context& c) {
    const T lr = hyper<T>(c, 3), rho = hyper<T>(c, 4), mu = hyper<T>(c, 5), epsilon = hyper<T>(c, 6);
    sparse<T>(c, rule::RmsProp<T>{lr, T(1) - rho, mu, epsilon}, 3, 7, 8);
  };
}

template <class T>
Kernel dense_adagrad_v2(const Node& node) { return adagrad_v2<T, false>(node); }
template <class T>
Kernel sparse_adagrad_v2(const Node& node) { return adagrad_v2<T, true>(node); }
template <class T>
Kernel dense_ftrl(const Node& node) { return ftrl<T, false>(node); }
template <class T>
Kernel sparse_ftrl(const Node& node) { return ftrl<T, true>(node); }
template <class T>
Kernel dense_adadelta(const Node& node) { return adadelta<T, false>(node); }
template <class T>
Kernel sparse_adadelta(const Node& node) { return adadelta<T, true>(node); }

// One kernel serves an update through references and its twin through handles.
#define RF_UPDATE(OP, FN)             \
  RF_KERNEL(OP, FN, float, double)    \
  RF_KERNEL("Resource" OP, FN, float, double)

RF_UPDATE("ApplyGradientDescent", gradient_descent)
RF_UPDATE("ApplyMomentum", momentum)
RF_UPDATE("ApplyAdagrad", adagrad)
RF_UPDATE("ApplyAdagradV2", dense_adagrad_v2)
RF_UPDATE("ApplyAdam", adam)
RF_UPDATE("ApplyRMSProp", rms_prop)
RF_UPDATE("ApplyFtrl", dense_ftrl)
RF_UPDATE("ApplyAdadelta", dense_adadelta)
RF_UPDATE("SparseApplyMomentum", sparse_momentum)
RF_UPDATE("SparseApplyAdagrad", sparse_adagrad)
RF_UPDATE("SparseApplyAdagradV2", sparse_adagrad_v2)
RF_UPDATE("SparseApplyRMSProp", sparse_rms_prop)
RF_UPDATE("SparseApplyFtrl", sparse_ftrl)
RF_UPDATE("SparseApplyAdadelta", sparse_adadelta)

}  // namespace
}  // namespace rf
