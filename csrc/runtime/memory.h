// Memory planning: which blocks share which bytes of one arena, and the arena itself.
//
// Invariant: two blocks whose lifetimes meet never overlap in memory.
#pragma once

#include <cstddef>
#include <vector>

namespace rf {

// A block is live from step `first` to step `last`, both included.
struct Block {
  size_t bytes;
  int first;
  int last;
};

struct Layout {
  std::vector<size_t> offsets;  // one per block, multiples of 64
  size_t bytes = 0;             // of the whole arena
};

// Greedy by size: the largest block first, each into the smallest gap left by the placed blocks that are alive with it.
Layout place(const std::vector<Block>& blocks);

// One piece of memory, 64-byte aligned; from 4 MiB on 2 MiB aligned and in huge pages where the system has them.
class Arena {
 public:
  Arena() = default;
  explicit Arena(size_t bytes);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  ~Arena();

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // Gives a large arena's pages back to the system; what was in them is lost, the addresses stay valid.
  void discard();

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
  size_t mapped_ = 0;  // bytes obtained from mmap; 0: from the heap
};

}  // namespace rf
