// Variables: behind references (VariableV2, Assign, ...) and behind handles (VarHandleOp, ReadVariableOp, ...).
//
// A variable lives in its container under shared_name, or else the node's name. Threading: the graph orders every
// read of a variable against its updates by control edges; kernels take no lock.
#include <cstring>

#include "kernels/elementwise.h"
#include "kernels/state.h"

namespace rf {
namespace {

Kernel variable(const Node& node) {
  const std::string container = node.attr<std::string>("container", "");
  const std::string shared_name = node.attr<std::string>("shared_name", "");
  const std::string name = shared_name.empty() ? node.name : shared_name;
  return [container, name, found = Cached<Variable>()](Context& c) mutable {
    c.set_ref_output(0, found.get(c.resources(), [&] { return c.resources().find_or_create<Variable>(container, name); }));
  };
}

Kernel is_variable_initialized(const Node&) {
  return [](Context& c) { *c.output(0, Shape()).data<bool>() = c.variable(0).value.initialized(); };
}

// The value itself: a Snapshot in the graph separates it from uses after an update.
Kernel read_variable(const Node&) {
  return [](Context& c) { c.set_output(0, c.mutable_input(0)); };
}

Kernel assign(const Node& node) {
  const bool validate_shape = node.attr<bool>("validate_shape", node.op == "Assign");
  return [validate_shape](Context& c) {
    Variable& v = c.variable(0);
    const Tensor& value = c.input(1);
    if (v.value.initialized() && (v.value.shape() != value.shape() || v.value.dtype() != value.dtype())) {
      check(!validate_shape && v.value.dtype() == value.dtype(), "[", c.node().op, "] value must have the variable's shape and dtype, ",
            v.value.shape(), " ", name_of(v.value.dtype()), ": got ", value.shape(), " ", name_of(value.dtype()),
            ". Fix: assign the same shape, or set validate_shape=False");
      v.value = Tensor();
    }
    // a variable keeps its memory for life: others may have been told where it is
    if (!v.value.initialized()) {
      v.value = copy_of(value);
    } else if (value.dtype() == DType::String) {
      v.value = copy_of(value);  // nobody holds the place of strings
    } else if (v.value.raw() != value.raw()) {
      std::memcpy(v.value.raw(), value.raw(), value.bytes());
    }
    c.set_ref_output(0, v);
  };
}

template <class F>
struct AssignUpdate {
  template <class T>
  static Kernel make(const Node&) {
    return [](Context& c) {
      Tensor& v = c.mutable_input(0);
      const Tensor& value = c.input(1);
      check(v.shape() == value.shape(), "[", c.node().op, "] value must have the variable's shape ", v.shape(), ": got ",
            value.shape());
      T* out = v.data<T>();
      const T* in = value.data<T>();
      const int64_t n = v.num_elements();
      run_loop<T>([=] {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) out[i] = F()(out[i], in[i]);
      });
      c.set_ref_output(0, c.variable(0));
    };
  }
};

template <class T>
Kernel count_up_to(const Node& node) {
  return [limit = node.attr<int64_t>("limit")](Context& c) {
    Tensor& v = c.mutable_input(0);
    check(v.rank() == 0, "[CountUpTo] ref must be a scalar: got ", v.shape());
    T& count = *v.data<T>();
    if (count >= limit) fail(Code::OutOfRange, "Reached limit of ", limit);
    *c.output(0, {}).template data<T>() = count++;
  };
}

RF_KERNEL_ANY("VariableV2", None, variable)
RF_KERNEL_ANY("IsVariableInitialized", None, is_variable_initialized)
RF_KERNEL_ANY("Assign", None, assign)
RF_KERNEL_ANY("VarHandleOp", None, variable)
RF_KERNEL_ANY("VarIsInitializedOp", None, is_variable_initialized)
RF_KERNEL_ANY("ReadVariableOp", Alias, read_variable)
RF_KERNEL_ANY("AssignVariableOp", None, assign)
RF_KERNEL_BY("AssignAddVariableOp", "dtype", AssignUpdate<formula::Add>::make, float, double, int32_t, int64_t)
RF_KERNEL_BY("AssignSubVariableOp", "dtype", AssignUpdate<formula::Sub>::make, float, double, int32_t, int64_t)
RF_KERNEL("CountUpTo", count_up_to, int32_t, int64_t)
RF_KERNEL("AssignAdd", AssignUpdate<formula::Add>::make, float, double, int32_t, int64_t)
RF_KERNEL("AssignSub", AssignUpdate<formula::Sub>::make, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
