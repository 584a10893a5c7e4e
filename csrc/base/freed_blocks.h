// Memory that tensors have given back, for the next tensor of about that size.
//
// A step that allocates (a loop, shapes that vary) asks for the same sizes again and again. The C library returns large
// blocks to the system, which clears every page of theirs anew (0.25 us and more for 4 KiB).
//
// Threads: any. Invariant: what is held is at most kMostBytes, the last given back; lists run through the blocks
// themselves, so that nothing is allocated here.
#pragma once

#include <cstddef>
#include <mutex>

namespace rf {

class FreedBlocks {
 public:
  FreedBlocks() = default;
  FreedBlocks(const FreedBlocks&) = delete;
  ~FreedBlocks();

  static constexpr size_t kLeastBytes = 4 << 10;  // smaller ones the C library keeps by itself

  // A block of at least `bytes` and at most a quarter more, with its size; null where there is none.
  void* take(size_t bytes, size_t* capacity);
  // From malloc or aligned_alloc, and at least kLeastBytes.
  void give(void* data, size_t bytes);

 private:
  static constexpr size_t kMostBytes = 256 << 20;
  static constexpr int kBins = 4 * 64;  // by size, four for each power of two

  struct Block {
    size_t bytes;
    Block *newer, *older;       // of all blocks
    Block *previous, *next;     // of the bin, the last one given first
  };

  static int bin_of(size_t bytes);
  void remove(Block* block);
  void give_up_oldest();

  std::mutex mutex_;
  Block* bins_[kBins] = {};
  Block *newest_ = nullptr, *oldest_ = nullptr;
  size_t held_ = 0;
};

}  // namespace rf
