// Windows: memory of every rank that all ranks of a node (or of a loopback world) can address, and their barrier.
//
// Threads: one thread per rank at a time, as transports.
// Where the memory comes from is the subclass's matter (loopback.cc, shared_memory.cc; mapping.h).
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "collectives/control.h"
#include "collectives/watch.h"

namespace rf {

constexpr size_t kPage = 4096;

enum class SegmentLayout {
  Apart,    // a window for each rank, and a result
  InPlace,  // a window for each rank; slice r of the result is slice r of rank r's window
  Common,   // one window for all ranks, and no result
};

// Windows of `bytes` (a multiple of 4096), zero-filled, aligned to 4096.
class Segment {
 public:
  virtual ~Segment() = default;
  size_t bytes() const { return bytes_; }
  SegmentLayout layout() const { return layout_; }
  char* window(int rank) const {
    return base_ + (layout_ == SegmentLayout::Common ? 0 : static_cast<size_t>(rank) * bytes_);
  }
  char* result() const { return result_; }
  // Where slice r of a result in place begins: whole pages, as even as they can be. slice_begin(size) is the end.
  size_t slice_begin(int rank) const {
    const size_t pages = bytes_ / kPage, ranks = static_cast<size_t>(size_);
    return std::min(pages, static_cast<size_t>(rank) * ((pages + ranks - 1) / ranks)) * kPage;
  }

 protected:
  Segment(int size, size_t bytes, SegmentLayout layout) : size_(size), bytes_(bytes), layout_(layout) {}
  const int size_;
  const size_t bytes_;
  const SegmentLayout layout_;
  char* base_ = nullptr;
  char* result_ = nullptr;
};

class Windows {
 public:
  virtual ~Windows() = default;
  int rank() const { return rank_; }
  int size() const { return size_; }
  ControlBlock& control() const { return *control_; }
  // What the watch calls these ranks; the same numbers until said otherwise.
  void set_names(std::vector<int> names) { names_ = std::move(names); }

  // Collective. Null on every rank where one of them could not have the memory; `problem` then says why.
  virtual std::shared_ptr<Segment> allocate(size_t bytes, SegmentLayout layout, Watch& watch, std::string* problem) = 0;

  // Returns once all ranks have arrived. Each writes one word, on a cache line of its own, and reads the others': the
  // latency is that of one line travelling between two cores.
  void barrier(Watch& watch);
  // The same; then throws InvalidArgument on every rank unless all came with the same signature.
  void meet(Watch& watch);
  // Writes down which processors this rank may use; after a barrier, `crowded` says whether ranks outnumber them.
  void publish_cores();
  // How often this rank has arrived at barriers; between collectives the same on every rank.
  uint32_t arrivals() const { return control_->member(rank_).arrivals.load(std::memory_order_relaxed); }
  bool crowded() const;

 protected:
  Windows(int rank, int size) : rank_(rank), size_(size), ranks_here_(size) {
    for (int r = 0; r < size; ++r) names_.push_back(r);
  }
  int name_of(int rank) const { return names_[static_cast<size_t>(rank)]; }
  // A rank that came with another tag, -1 where none did.
  int arrive(Watch& watch, uint32_t tag);

  int rank_, size_;
  int ranks_here_;  // on these processors; more than `size` where nodes are pretended
  std::vector<int> names_;
  ControlBlock* control_ = nullptr;
};

}  // namespace rf
