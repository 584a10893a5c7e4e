// Nodes that are ready, first in first out; those that wait for communication come last.
#pragma once

#include <vector>

#include "runtime/frames.h"

namespace rf {

class ReadyQueue {
 public:
  bool empty() const { return count_ == 0 && late_.empty(); }
  void push(const Ready& ready) {
    if (__builtin_expect(ready.node->late, 0)) return late_.push_back(ready);
    if (count_ == ring_.size()) grow();
    ring_[(first_ + count_++) & (ring_.size() - 1)] = ready;
  }
  Ready pop() {
    if (count_ == 0) {
      const Ready ready = late_.front();
      late_.erase(late_.begin());
      return ready;
    }
    const Ready ready = ring_[first_];
    first_ = (first_ + 1) & (ring_.size() - 1);
    --count_;
    return ready;
  }
  void clear() {
    first_ = count_ = 0;
    late_.clear();
  }

 private:
  void grow() {
    std::vector<Ready> larger(ring_.size() * 2);
    for (size_t i = 0; i < count_; ++i) larger[i] = ring_[(first_ + i) & (ring_.size() - 1)];
    ring_.swap(larger);
    first_ = 0;
  }

  std::vector<Ready> ring_ = std::vector<Ready>(64);  // a power of two
  size_t first_ = 0, count_ = 0;
  std::vector<Ready> late_;
};

}  // namespace rf
