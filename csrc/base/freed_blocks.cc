#include "base/freed_blocks.h"

#include <cstdlib>

namespace rf {

FreedBlocks::~FreedBlocks() {
  while (oldest_) give_up_oldest();
}

int FreedBlocks::bin_of(size_t bytes) {
  const int power = 63 - __builtin_clzll(bytes);
  return 4 * power + static_cast<int>(bytes >> (power - 2) & 3);
}

void* FreedBlocks::take(size_t bytes, size_t* capacity) {
  constexpr int kLookAt = 8;  // blocks of a bin: a step that repeats finds its sizes at once
  std::lock_guard<std::mutex> lock(mutex_);
  const int first = bin_of(bytes);
  for (int bin = first; bin <= first + 1 && bin < kBins; ++bin) {
    int looked = 0;
    for (Block* b = bins_[bin]; b && looked < kLookAt; b = b->next, ++looked) {
      if (b->bytes < bytes || b->bytes - bytes > bytes / 4) continue;
      *capacity = b->bytes;
      remove(b);
      return b;
    }
  }
  return nullptr;
}

void FreedBlocks::give(void* data, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (bytes > kMostBytes / 2) return std::free(data);
  while (held_ + bytes > kMostBytes) give_up_oldest();
  Block*& bin = bins_[bin_of(bytes)];
  auto* const b = static_cast<Block*>(data);
  *b = {bytes, nullptr, newest_, nullptr, bin};
  if (bin) bin->previous = b;
  bin = b;
  if (newest_) newest_->newer = b;
  newest_ = b;
  if (!oldest_) oldest_ = b;
  held_ += bytes;
}

void FreedBlocks::give_up_oldest() {
  Block* const oldest = oldest_;
  remove(oldest);
  std::free(oldest);
}

void FreedBlocks::remove(Block* b) {
  if (b->next) b->next->previous = b->previous;
  (b->previous ? b->previous->next : bins_[bin_of(b->bytes)]) = b->next;
  (b->newer ? b->newer->older : newest_) = b->older;
  (b->older ? b->older->newer : oldest_) = b->newer;
  held_ -= b->bytes;
}

}  // namespace rf
