// What a kernel is, what it sees of a step, and the registry of kernels by (op, dtype).
//
// A kernel is a function from a node (its attrs, read once) to a callable that computes one step:
//
//     template <class T>
//     Kernel relu(const Node&) {
//       return [](Context& c) {
//         const Tensor& x = c.input(0);
//         Tensor& y = c.output(0, x.shape());
//         ...
//       };
//     }
//     RF_KERNEL_IN_PLACE("Relu", relu, float, double)
//
// Kernels compute their own output shapes. `output()` hands out the planner's buffer when the plan knew the
// shape, and fresh memory otherwise; a kernel cannot tell the difference. A kernel must not keep state
// between steps except through Resources, so that one plan can be rebuilt at any time.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/cancellation.h"
#include "base/node.h"
#include "base/simd.h"
#include "kernels/resource.h"

namespace rf {

class Rendezvous;  // runtime/rendezvous.h

// What belongs to one run: dropped when the run ends, however it ends.
struct RunState {
  Cancellation cancellation;
  Rendezvous* rendezvous = nullptr;  // with the other partitions of the run; null where there are none
  Resources resources;  // of the step: tensor arrays, stacks
};

// One output of one node at run time. `tensor` points at `own`, or at a variable's value for ref outputs.
struct Slot {
  Tensor* tensor = &own;
  Tensor own;
  Variable* variable = nullptr;  // set on ref outputs, and on handles of resource variables
  std::shared_ptr<Resource> resource;  // behind the handle of any other resource; goes wherever the handle goes
  DType dtype = DType::Invalid;
  void* planned = nullptr;       // the planner's memory for this output
  size_t planned_bytes = 0;

  Slot() = default;
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
};

class Context {
 public:
  Context(const Node& node, Slot* const* inputs, int num_inputs, Slot* outputs, int num_outputs, Resources& resources,
          RunState& run)
      : node_(node), inputs_(inputs), num_inputs_(num_inputs), outputs_(outputs), num_outputs_(num_outputs),
        resources_(resources), run_(run) {}

  const Node& node() const { return node_; }
  int num_inputs() const { return num_inputs_; }
  int num_outputs() const { return num_outputs_; }
  DType output_dtype(int i) const { return output_slot(i).dtype; }
  Resources& resources() { return resources_; }
  RunState& run() { return run_; }

  // FailedPrecondition where it is an uninitialised variable.
  const Tensor& input(int i) const {
    const Tensor& t = *input_slot(i).tensor;
    if (__builtin_expect(!t.initialized(), 0)) uninitialized(i);
    return t;
  }
  // The variable behind ref input i, initialised or not.
  Variable& variable(int i) {
    Slot& slot = input_slot(i);
    if (__builtin_expect(!slot.variable, 0)) not_a_variable(i);
    return *slot.variable;
  }
  // The value of ref input i for updating in place; FailedPrecondition where uninitialised.
  Tensor& mutable_input(int i) {
    Variable& v = variable(i);
    if (__builtin_expect(!v.value.initialized(), 0)) uninitialized(i);
    return v.value;
  }

  // Input i as a tensor that may outlive the run. Not copied where it owns memory that nobody else holds; feeds, memory
  // of the plan, constants and values of variables are.
  Tensor keep(int i) const;
  // Input i as a tensor that stays as it is for the rest of the run: not copied where it owns its memory, which nobody
  // writes over while it is shared. What is a variable's memory the graph copies first, if the run updates it
  // (graph/passes/order).
  Tensor hold(int i) const {
    const Tensor& t = input(i);
    return t.buffer() && input_slot(i).tensor == &input_slot(i).own ? t : copy_of(t);
  }

  // Memory for output i. It may be the memory of an input only if the kernel is registered IN_PLACE.
  Tensor& output(int i, const Shape& shape) {
    Slot& slot = output_slot(i);
    const size_t bytes = static_cast<size_t>(shape.num_elements()) * size_of(slot.dtype);
    if (__builtin_expect(slot.planned != nullptr && bytes <= slot.planned_bytes, 1))
      slot.own.bind(slot.dtype, shape, slot.planned);
    else
      slot.own = i == 0 && overwritable_ != 0 ? reused(slot.dtype, shape, bytes) : Tensor(slot.dtype, shape);
    return slot.own;
  }
  // Output i is this tensor (sharing its memory). Only for kernels registered as ALIAS, or for fresh tensors.
  void set_output(int i, const Tensor& tensor) { output_slot(i).own = tensor; }
  // Output i refers to a variable, or is a handle to it. Update ops of resource variables have no such output.
  void set_ref_output(int i, Variable& variable) {
    if (i >= num_outputs_) return;
    outputs_[i].variable = &variable;
    outputs_[i].tensor = &variable.value;
  }

  // The resource behind handle input i. InvalidArgument where it is of another type.
  template <class R>
  std::shared_ptr<R> resource(int i) const {
    auto typed = std::dynamic_pointer_cast<R>(input_slot(i).resource);
    if (__builtin_expect(!typed, 0)) wrong_resource(i);
    return typed;
  }
  // Output i is a handle to a resource. It keeps the resource alive until the last reader of the handle is done.
  void set_resource_output(int i, std::shared_ptr<Resource> resource) { output_slot(i).resource = std::move(resource); }

  // Output i is the handle that input `from` is.
  void pass_handle(int i, int from) {
    const Slot& in = input_slot(from);
    Slot& out = output_slot(i);
    out.resource = in.resource;
    out.own = in.own;
    if (in.variable) set_ref_output(i, *in.variable);
  }

  // For _Send and _Recv, which run whether or not their inputs are alive, once in every iteration of a loop: whether the
  // input is dead, and so the output; and which iteration of which loop ("0:0": none).
  bool dead() const { return dead_; }
  void set_dead(bool dead) { dead_ = dead; }
  const std::string& iteration() const { return iteration_; }
  void set_iteration(std::string iteration) { iteration_ = std::move(iteration); }

  // For schedules: the inputs, as bits, that nobody else reads and that output 0 may be written over.
  void may_overwrite(uint32_t inputs) { overwritable_ = inputs; }

  // Temporary memory, 64-byte aligned, valid until this kernel returns; one block per call of the kernel
  // (a second call in the same step returns another). Kept from step to step by the calling thread.
  void* scratch(size_t bytes);

 private:
  // A graph that comes from elsewhere may give a node too few inputs, or too few types of outputs.
  Slot& input_slot(int i) const {
    if (__builtin_expect(i >= num_inputs_, 0)) missing("input", i, num_inputs_);
    return *inputs_[i];
  }
  Slot& output_slot(int i) const {
    if (__builtin_expect(i >= num_outputs_, 0)) missing("output", i, num_outputs_);
    return outputs_[i];
  }
  // The memory of an overwritable input of this size that is not shared, else fresh memory.
  Tensor reused(DType dtype, const Shape& shape, size_t bytes);
  [[noreturn]] void missing(const char* what, int i, int count) const;
  [[noreturn]] void uninitialized(int i) const;
  [[noreturn]] void not_a_variable(int i) const;
  [[noreturn]] void wrong_resource(int i) const;

  const Node& node_;
  Slot* const* inputs_;
  int num_inputs_;
  Slot* outputs_;
  int num_outputs_;
  Resources& resources_;
  RunState& run_;
  int scratch_used_ = 0;
  uint32_t overwritable_ = 0;
  bool dead_ = false;
  std::string iteration_;
};

using Kernel = std::function<void(Context&)>;
using KernelFactory = Kernel (*)(const Node&);

// A kernel that may have to wait for somebody else (queues, receives): it holds no thread meanwhile. It calls `done`
// exactly once, from any thread, at once or later, with null or with what went wrong; the context lives until then.
// What it waits for must end by itself when the run is cancelled (Context::run().cancellation), as Cancelled.
using Done = std::function<void(std::exception_ptr)>;
using AsyncKernel = std::function<void(Context&, Done)>;
using AsyncKernelFactory = AsyncKernel (*)(const Node&);

// Runs what an asynchronous kernel does before it waits. False where that has thrown: `done` then knows, and the kernel
// has nothing left to do.
template <class F>
bool succeeds(const Done& done, F prepare) {
  try {
    prepare();
    return true;
  } catch (...) {
    done(std::current_exception());
    return false;
  }
}

// How an output's memory may relate to the inputs'.
enum class Sharing {
  None,       // outputs never share memory with inputs
  InPlace,    // output 0 may be written over any input of equal size and dtype (element i is read before it is written)
  OverFirst,  // output 0 may be written over input 0, if that has its size and dtype and is in no other input's memory
  Alias,      // output 0 always is input 0's memory (Identity, Reshape, ...)
  Parts,      // the outputs always are input 0's memory, one after another
  Joins,      // inputs may lie where they belong in output 0, in which they come one after another
};

struct KernelEntry {
  KernelFactory make;
  Sharing sharing;
  AsyncKernelFactory make_async = nullptr;  // set instead of `make` for asynchronous kernels
};

// The kernel of `op` for `dtype`; null where there is none. An entry registered for every dtype serves any.
const KernelEntry* find_kernel(const std::string& op, DType dtype);
// The attr whose dtype selects the kernel of `op` ("T" unless registered otherwise); "" where any dtype does.
const std::string& dtype_attr(const std::string& op);
// (op, dtypes), sorted by op; an empty list means any dtype.
std::vector<std::pair<std::string, std::vector<DType>>> registered_kernels();

struct Registration {
  Registration(const char* op, const char* dtype_attr, Sharing sharing,
               std::vector<std::pair<DType, KernelFactory>> kernels);
  Registration(const char* op, AsyncKernelFactory make);
};

#define RF_CONCAT_(a, b) a##b
#define RF_CONCAT(a, b) RF_CONCAT_(a, b)

namespace detail {
template <class... T, class F>
std::vector<std::pair<DType, KernelFactory>> for_types(F make) {
  return {{DTypeOf<T>::value, make(Type<T>{})}...};
}
}  // namespace detail

#define RF_REGISTER(OP, ATTR, SHARING, FN, ...)                                                    \
  static const ::rf::Registration RF_CONCAT(registration_, __COUNTER__)(                            \
      OP, ATTR, ::rf::Sharing::SHARING, ::rf::detail::for_types<__VA_ARGS__>([](auto tag) {         \
        return static_cast<::rf::KernelFactory>(&FN<typename decltype(tag)::type>);                 \
      }))

// FN<T> for each listed T, selected by attr "T".
#define RF_KERNEL(OP, FN, ...) RF_REGISTER(OP, "T", None, FN, __VA_ARGS__);
#define RF_KERNEL_IN_PLACE(OP, FN, ...) RF_REGISTER(OP, "T", InPlace, FN, __VA_ARGS__);
// The same, selected by another attr: RF_KERNEL_BY("Fill", "dtype", fill, float, double)
#define RF_KERNEL_BY(OP, ATTR, FN, ...) RF_REGISTER(OP, ATTR, None, FN, __VA_ARGS__);
// FN (no template) for every dtype.
#define RF_KERNEL_ANY(OP, SHARING, FN)                                     \
  static const ::rf::Registration RF_CONCAT(registration_, __COUNTER__)(   \
      OP, "", ::rf::Sharing::SHARING, {{::rf::DType::Invalid, &FN}});

// The asynchronous kernel FN (no template) for every dtype.
#define RF_KERNEL_ASYNC(OP, FN) static const ::rf::Registration RF_CONCAT(registration_, __COUNTER__)(OP, &FN);

}  // namespace rf
