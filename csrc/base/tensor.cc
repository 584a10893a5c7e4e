#include "base/tensor.h"

#include <new>

namespace rf {

Buffer* Buffer::allocate(size_t bytes) {
  void* data = std::aligned_alloc(kAlignment, round_up(bytes ? bytes : 1));
  if (!data) fail(Code::Internal, "out of memory: cannot allocate ", bytes, " bytes for a tensor");
  return new Buffer(data, bytes, nullptr);
}

Buffer* Buffer::wrap(void* data, size_t bytes, std::function<void()> release) {
  return new Buffer(data, bytes, release ? std::move(release) : [] {});
}

Buffer::~Buffer() {
  if (release_)
    release_();
  else
    std::free(data_);
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
