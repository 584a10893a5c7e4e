// Activations and their gradients. Gradients of Relu, LeakyRelu and Softplus take (gradients, features), those of
// Sigmoid and Tanh (y, dy), that of Elu (gradients, outputs): the order of TensorFlow's OpDefs.
#include "kernels/elementwise.h"

namespace rf {
namespace {

using namespace formula;

template <class T>
Kernel leaky_relu(const Node& node) {
  const LeakyRelu f{node.attr<float>("alpha", 0.2f)};
  return [f](Context& c) {
    const Tensor& x = c.input(0);
    Tensor& y = c.output(0, x.shape());
    map_unary(f, x.data<T>(), y.data<T>(), x.num_elements());
  };
}

template <class T>
Kernel leaky_relu_grad(const Node& node) {
  const Swapped<LeakyReluGrad> f{{node.attr<float>("alpha", 0.2f)}};
  return [f](Context& c) { same_shape_binary<Swapped<LeakyReluGrad>, T>(c, f); };
}

RF_KERNEL_IN_PLACE("Relu", Unary<Relu>::make, float, double, int32_t, int64_t)
RF_KERNEL_IN_PLACE("Relu6", Unary<Relu6>::make, float, double)
RF_KERNEL_IN_PLACE("LeakyRelu", leaky_relu, float, double)
RF_KERNEL_IN_PLACE("Elu", Unary<Elu>::make, float, double)
RF_KERNEL_IN_PLACE("Sigmoid", Unary<Sigmoid>::make, float, double)
RF_KERNEL_IN_PLACE("Tanh", Unary<Tanh>::make, float, double)
RF_KERNEL_IN_PLACE("Softplus", Unary<Softplus>::make, float, double)

RF_KERNEL_IN_PLACE("ReluGrad", Gradient<Swapped<ReluGrad>>::make, float, double)
RF_KERNEL_IN_PLACE("Relu6Grad", Gradient<Swapped<Relu6Grad>>::make, float, double)
RF_KERNEL_IN_PLACE("LeakyReluGrad", leaky_relu_grad, float, double)
RF_KERNEL_IN_PLACE("EluGrad", Gradient<Swapped<EluGrad>>::make, float, double)
RF_KERNEL_IN_PLACE("SigmoidGrad", Gradient<SigmoidGrad>::make, float, double)
RF_KERNEL_IN_PLACE("TanhGrad", Gradient<TanhGrad>::make, float, double)
RF_KERNEL_IN_PLACE("SoftplusGrad", Gradient<Swapped<SoftplusGrad>>::make, float, double)

}  // namespace
}  // namespace rf
