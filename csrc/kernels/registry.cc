#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "kernels/kernel.h"

namespace rf {
namespace {

struct OpKernels {
  std::string dtype_attr;
  std::map<DType, KernelEntry> by_dtype;  // DType::Invalid: any
};

// Filled by static registration only, read-only afterwards.
std::map<std::string, OpKernels>& registry() {
  static std::map<std::string, OpKernels> kernels;
  return kernels;
}

struct Scratch {
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data;
  size_t bytes = 0;
};

}  // namespace

Registration::Registration(const char* op, const char* dtype_attr, Sharing sharing,
                           std::vector<std::pair<DType, KernelFactory>> kernels) {
  OpKernels& entry = registry()[op];
  entry.dtype_attr = dtype_attr;
  for (const auto& [dtype, make] : kernels) {
    if (!entry.by_dtype.emplace(dtype, KernelEntry{make, sharing}).second)
      fail(Code::AlreadyExists, "two kernels of ", op, " for ", name_of(dtype));
  }
}

Registration::Registration(const char* op, AsyncKernelFactory make) {
  if (!registry()[op].by_dtype.emplace(DType::Invalid, KernelEntry{nullptr, Sharing::None, make}).second)
    fail(Code::AlreadyExists, "two kernels of ", op);
}

const KernelEntry* find_kernel(const std::string& op, DType dtype) {
  auto it = registry().find(op);
  if (it == registry().end()) return nullptr;
  const auto& by_dtype = it->second.by_dtype;
  auto k = by_dtype.find(dtype);
  if (k == by_dtype.end()) k = by_dtype.find(DType::Invalid);
  return k == by_dtype.end() ? nullptr : &k->second;
}

const std::string& dtype_attr(const std::string& op) {
  static const std::string none;
  auto it = registry().find(op);
  return it == registry().end() ? none : it->second.dtype_attr;
}

std::vector<std::pair<std::string, std::vector<DType>>> registered_kernels() {
  std::vector<std::pair<std::string, std::vector<DType>>> all;
  for (const auto& [op, kernels] : registry()) {
    std::vector<DType> dtypes;
    for (const auto& entry : kernels.by_dtype)
      if (entry.first != DType::Invalid) dtypes.push_back(entry.first);
    all.emplace_back(op, dtypes);
  }
  return all;
}

Tensor Context::reused(DType dtype, const Shape& shape, size_t bytes) {
  for (int k = 0; k < num_inputs_ && k < 32; ++k) {
    const Slot& in = *inputs_[k];
    const Tensor& t = in.own;
    if (!(overwritable_ >> k & 1) || in.tensor != &t || t.dtype() != dtype || t.bytes() != bytes || bytes == 0) continue;
    Buffer* const buffer = t.buffer();
    if (!buffer || !buffer->unique() || buffer->data() != t.raw()) continue;
    overwritable_ = 0;
    buffer->ref();
    return Tensor(dtype, shape, buffer);
  }
  return Tensor(dtype, shape);
}

void* Context::scratch(size_t bytes) {
  thread_local std::vector<Scratch> blocks;
  if (blocks.size() <= static_cast<size_t>(scratch_used_)) blocks.resize(static_cast<size_t>(scratch_used_) + 1);
  Scratch& block = blocks[static_cast<size_t>(scratch_used_++)];
  if (block.bytes < bytes) {
    block.data.reset();
    block.bytes = round_up(bytes);
    block.data.reset(std::aligned_alloc(kAlignment, block.bytes));
    if (!block.data) {
      block.bytes = 0;
      fail(Code::Internal, "out of memory: cannot allocate ", bytes, " bytes of scratch");
    }
  }
  return block.data.get();
}

Tensor Context::keep(int i) const {
  const Tensor& t = input(i);
  const Slot& slot = input_slot(i);
  const bool sole = slot.tensor == &slot.own && !slot.variable && t.buffer() && t.buffer()->unique();
  return sole ? t : copy_of(t);
}

void Context::missing(const char* what, int i, int count) const {
  fail(Code::InvalidArgument, "[", node_.op, "] node '", node_.name, "' must have ", what, " ", i, ": it has ", count, " ",
       what, "s. Fix: write the graph again; the node is incomplete");
}

void Context::uninitialized(int i) const {
  std::string name = node_.inputs[static_cast<size_t>(i)];
  if (const auto colon = name.rfind(':'); colon != std::string::npos) name.resize(colon);
  fail(Code::FailedPrecondition, "Attempting to use uninitialized value ", name,
       ". Fix: run the variable's initializer first: rf.global_variables_initializer(), for local variables (num_epochs) "
       "rf.local_variables_initializer()");
}

void Context::not_a_variable(int i) const {
  fail(Code::InvalidArgument, "[", node_.op, "] input ", i, " ('", node_.inputs[static_cast<size_t>(i)],
       "') must be a variable");
}

void Context::wrong_resource(int i) const {
  fail(Code::InvalidArgument, "[", node_.op, "] input ", i, " ('", node_.inputs[static_cast<size_t>(i)],
       "') is no handle to what this op works on. Fix: pass the output of the op that makes it");
}

}  // namespace rf
