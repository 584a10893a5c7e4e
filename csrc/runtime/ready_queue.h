// Nodes that are ready, in the order in which a straight line would run them: what is computed together stays together,
// and what waits for communication goes last.
#pragma once

#include <algorithm>
#include <vector>

#include "runtime/frames.h"

namespace rf {

class ReadyQueue {
 public:
  bool empty() const { return heap_.empty(); }
  void push(const Ready& ready) {
    heap_.push_back(ready);
    std::push_heap(heap_.begin(), heap_.end(), Later());
  }
  Ready pop() {
    std::pop_heap(heap_.begin(), heap_.end(), Later());
    const Ready ready = heap_.back();
    heap_.pop_back();
    return ready;
  }
  void clear() { heap_.clear(); }

 private:
  struct Later {
    bool operator()(const Ready& a, const Ready& b) const { return a.place > b.place; }
  };
  std::vector<Ready> heap_;
};

}  // namespace rf
