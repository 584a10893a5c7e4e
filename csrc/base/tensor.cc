#include "base/tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/freed_blocks.h"

namespace rf {

namespace {

// Fresh memory. Large blocks ask for huge pages: a table of which a step touches rows anywhere, or variables of which it
// touches everything, would need more small ones than the processor remembers.
void* fresh(size_t bytes) {
  constexpr size_t kHuge = size_t{2} << 20;
  if (bytes < kHuge) return std::aligned_alloc(kAlignment, bytes);
  void* data = nullptr;
  if (posix_memalign(&data, kHuge, bytes) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  madvise(data, bytes / kHuge * kHuge, MADV_HUGEPAGE);  // advice: without it the memory is only slower
#endif
  return data;
}

FreedBlocks& freed() {  // never destroyed: tensors may outlive statics
  static FreedBlocks* const blocks = new FreedBlocks;
  return *blocks;
}

}  // namespace

Buffer* Buffer::allocate(size_t bytes) {
  size_t capacity = round_up(bytes ? bytes : 1);
  void* data = capacity >= FreedBlocks::kLeastBytes ? freed().take(capacity, &capacity) : nullptr;
  if (!data) data = fresh(capacity);
  if (!data) fail(Code::Internal, "out of memory: cannot allocate ", bytes, " bytes for a tensor");
  return new Buffer(data, bytes, capacity, nullptr);
}

Buffer* Buffer::allocate_strings(size_t n) {
  auto* strings = new std::string[n ? n : 1];
  return wrap(strings, n * sizeof(std::string), [strings] { delete[] strings; });
}

Buffer* Buffer::wrap(void* data, size_t bytes, std::function<void()> release) {
  return new Buffer(data, bytes, 0, release ? std::move(release) : [] {});
}

Buffer::~Buffer() {
  if (release_)
    release_();
  else if (capacity_ >= FreedBlocks::kLeastBytes)
    freed().give(data_, capacity_);
  else
    std::free(data_);
}

Tensor copy_of(const Tensor& tensor) {
  Tensor copy(tensor.dtype(), tensor.shape());
  if (tensor.dtype() == DType::String)
    std::copy_n(tensor.data<std::string>(), tensor.num_elements(), copy.data<std::string>());
  else if (tensor.bytes() != 0)
    std::memcpy(copy.raw(), tensor.raw(), tensor.bytes());
  return copy;
}

std::vector<int64_t> int_values(const Tensor& tensor) {
  std::vector<int64_t> values(static_cast<size_t>(tensor.num_elements()));
  visit_index(tensor.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = tensor.data<T>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(in[i]);
  });
  return values;
}

}  // namespace rf
