// StackV2, StackPushV2, StackPopV2, StackCloseV2: what a loop's forward pass keeps for its gradient.
//
// A stack lives as long as somebody holds a handle to it. Pushes and pops are ordered by the graph; the lock is for
// graphs that fail to. The semantics are those of graph/ops/stacks.py.
#include <mutex>
#include <vector>

#include "kernels/axes.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

class Stack : public Resource {
 public:
  Stack(std::string name, DType dtype, int64_t max_size) : name_(std::move(name)), dtype_(dtype), max_size_(max_size) {}

  void push(Tensor value) {
    check_dtype("StackPushV2", value.dtype());
    std::lock_guard<std::mutex> lock(mutex_);
    check_open("StackPushV2");
    check(max_size_ < 0 || static_cast<int64_t>(values_.size()) < max_size_, "[StackPushV2] stack '", name_,
          "' overflowed its max_size (", max_size_, ")");
    values_.push_back(std::move(value));
  }

  Tensor pop(DType dtype) {
    check_dtype("StackPopV2", dtype);
    std::lock_guard<std::mutex> lock(mutex_);
    check_open("StackPopV2");
    check(!values_.empty(), "[StackPopV2] stack '", name_, "' is empty when calling Pop()");
    Tensor top = std::move(values_.back());
    values_.pop_back();
    return top;
  }

  void close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    values_.clear();
  }

 private:
  void check_open(const char* where) const { check(!closed_, "[", where, "] stack '", name_, "' has been closed"); }
  void check_dtype(const char* where, DType dtype) const {
    check(dtype == dtype_, "[", where, "] stack '", name_, "' holds ", name_of(dtype_), ": got ", name_of(dtype));
  }

  const std::string name_;
  const DType dtype_;
  const int64_t max_size_;
  std::mutex mutex_;
  bool closed_ = false;
  std::vector<Tensor> values_;
};

Kernel make_stack(const Node& node) {
  const DType dtype = node.attr<DType>("elem_type");
  const std::string given = node.attr<std::string>("stack_name", "");
  const std::string name = given.empty() ? node.name : given;
  return [name, dtype](Context& c) { c.set_resource_output(0, std::make_shared<Stack>(name, dtype, int_scalar(c, 0))); };
}

Kernel push(const Node&) {
  return [](Context& c) {
    const Tensor elem = c.hold(1);
    c.resource<Stack>(0)->push(elem);
    c.set_output(0, elem);
  };
}

Kernel pop(const Node&) {
  return [](Context& c) { c.set_output(0, c.resource<Stack>(0)->pop(c.output_dtype(0))); };
}

Kernel close(const Node&) {
  return [](Context& c) { c.resource<Stack>(0)->close(); };
}

RF_KERNEL_ANY("StackV2", None, make_stack)
RF_KERNEL_ANY("StackPushV2", None, push)
RF_KERNEL_ANY("StackPopV2", None, pop)
RF_KERNEL_ANY("StackCloseV2", None, close)

}  // namespace
}  // namespace rf
