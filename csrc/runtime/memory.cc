#include "runtime/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "base/tensor.h"

namespace rf {

Layout place(const std::vector<Block>& blocks) {
  std::vector<size_t> by_size(blocks.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });

  struct Placed {
    size_t begin, end;
    int first, last;
  };
  std::vector<Placed> placed;  // by begin
  placed.reserve(blocks.size());
  Layout layout;
  layout.offsets.resize(blocks.size());
  for (size_t i : by_size) {
    const Block& block = blocks[i];
    const size_t bytes = round_up(std::max(block.bytes, size_t{1}));
    size_t best = SIZE_MAX, best_gap = SIZE_MAX, top = 0;  // top: the end of the live blocks seen so far
    for (const Placed& p : placed) {
      if (p.last < block.first || p.first > block.last) continue;
      if (p.begin > top && p.begin - top >= bytes && p.begin - top < best_gap) {
        best = top;
        best_gap = p.begin - top;
      }
      top = std::max(top, p.end);
    }
    if (best == SIZE_MAX) best = top;
    if (__builtin_add_overflow(best, bytes, &top))
      fail(Code::InvalidArgument, "[plan] the memory of the graph exceeds the address space");
    layout.offsets[i] = best;
    layout.bytes = std::max(layout.bytes, top);
    const Placed entry{best, best + bytes, block.first, block.last};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), entry,
                                   [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
                  entry);
  }
  return layout;
}

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

Arena::Arena(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes < 2 * kHugePage) {
    data_ = static_cast<char*>(std::aligned_alloc(kAlignment, round_up(bytes)));
  } else {
    // a page more than asked, the unaligned ends given back
    const size_t wanted = round_up(bytes, kHugePage);
    void* raw = mmap(nullptr, wanted + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw != MAP_FAILED) {
      const uintptr_t start = reinterpret_cast<uintptr_t>(raw);
      const size_t head = round_up(start, kHugePage) - start;
      if (head != 0) munmap(raw, head);
      data_ = static_cast<char*>(raw) + head;
      if (head != kHugePage) munmap(data_ + wanted, kHugePage - head);
      mapped_ = wanted;
      madvise(data_, wanted, MADV_HUGEPAGE);  // advice: without it the arena is only slower
    }
  }
  if (!data_) fail(Code::Internal, "[plan] out of memory: cannot allocate an arena of ", bytes, " bytes");
}

void Arena::discard() {
  if (mapped_ != 0) madvise(data_, mapped_, MADV_DONTNEED);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

Arena::~Arena() {
  if (mapped_ != 0)
    munmap(data_, mapped_);
  else
    std::free(data_);
}

}  // namespace rf
