#include "base/tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <string>

namespace rf {

namespace {

// Large blocks that were freed, for the next tensor of about that size: a step whose shapes vary asks for the same
// ones again and again, and the system would clear every page of theirs anew (0.25 us for 4 KiB).
// Threads: any. Holds at most kBlocks and kMostBytes; never destroyed, because tensors may outlive statics.
class FreedBlocks {
 public:
  static constexpr size_t kLeastBytes = 128 << 10, kMostBytes = 256 << 20, kBlocks = 32;

  // A block of at least `bytes` and at most a quarter more, with its size; null where there is none.
  void* take(size_t bytes, size_t* capacity) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = count_; i-- > 0;) {
      const Block b = blocks_[i];
      if (b.bytes < bytes || b.bytes - bytes > bytes / 4) continue;
      remove(i);
      *capacity = b.bytes;
      return b.data;
    }
    return nullptr;
  }
  void give(void* data, size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > kMostBytes / 2) return std::free(data);
    while (count_ == kBlocks || held_ + bytes > kMostBytes) {
      std::free(blocks_[0].data);  // the one that has waited longest
      remove(0);
    }
    blocks_[count_++] = {data, bytes};
    held_ += bytes;
  }

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  void remove(size_t i) {
    held_ -= blocks_[i].bytes;
    for (--count_; i < count_; ++i) blocks_[i] = blocks_[i + 1];
  }

  std::mutex mutex_;
  Block blocks_[kBlocks];
  size_t count_ = 0, held_ = 0;
};

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

FreedBlocks& freed() {
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
