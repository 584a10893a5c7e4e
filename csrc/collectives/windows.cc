#include "collectives/windows.h"

#include <sched.h>

#include "base/dtype.h"

namespace rf {

void Windows::barrier(Watch& watch) {
  ControlBlock& c = *control_;
  Member& me = c.member(rank_);
  const uint32_t generation = c.generation.load(std::memory_order_acquire);
  const uint32_t mine = me.arrivals.load(std::memory_order_relaxed) + 1;
  me.arrivals.store(mine, std::memory_order_release);
  if (c.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size_)) {
    c.arrived.store(0, std::memory_order_relaxed);
    c.generation.store(generation + 1, std::memory_order_seq_cst);
    if (c.sleepers.load(std::memory_order_seq_cst) > 0) futex_wake_all(c.generation);
    return;
  }
  watch.until([&] { return c.generation.load(std::memory_order_acquire) != generation; },
              [&] {
                c.sleepers.fetch_add(1, std::memory_order_seq_cst);
                futex_wait(c.generation, generation, 20);
                c.sleepers.fetch_sub(1, std::memory_order_relaxed);
              },
              [&] {
                std::vector<int> missing;
                for (int r = 0; r < size_; ++r)
                  if (static_cast<int32_t>(c.member(r).arrivals.load(std::memory_order_acquire) - mine) < 0)
                    missing.push_back(r);
                return missing;
              });
}

void Windows::meet(Watch& watch) {
  Member& me = control_->member(rank_);
  // Two slots: a peer writes slot s again only after this rank has arrived once more, so after the comparison.
  const uint32_t slot = (me.arrivals.load(std::memory_order_relaxed) + 1) & 1;
  me.signature[slot] = watch.signature();
  barrier(watch);
  for (int r = 0; r < size_; ++r) {
    const Signature& theirs = control_->member(r).signature[slot];
    if (theirs != watch.signature())
      fail(Code::InvalidArgument, watch.where(), ": the ranks call different collectives as number ", watch.sequence(),
           ": rank ", rank_, " ", watch.signature().str(), ", rank ", r, " ", theirs.str(),
           ". Fix: make every rank call the same collectives with the same shapes in the same order.");
  }
}

void Windows::publish_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  uint64_t* mask = control_->member(rank_).cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return;
  for (int c = 0; c < CPU_SETSIZE && c < Member::kMaskWords * 64; ++c)
    if (CPU_ISSET(c, &set)) mask[c / 64] |= uint64_t{1} << (c % 64);
}

bool Windows::crowded() const {
  int cores = 0;
  for (int w = 0; w < Member::kMaskWords; ++w) {
    uint64_t all = 0;
    for (int r = 0; r < size_; ++r) all |= control_->member(r).cores[w];
    cores += __builtin_popcountll(all);
  }
  return cores > 0 && size_ > cores;
}

}  // namespace rf
