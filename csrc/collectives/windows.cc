#include "collectives/windows.h"

#include <sched.h>

namespace rf {

int Windows::arrive(Watch& watch, uint32_t tag) {
  ControlBlock& c = *control_;
  Member& me = c.member(rank_);
  const uint32_t mine = me.arrivals.load(std::memory_order_relaxed) + 1;
  const uint32_t slot = mine & 1;
  me.arrivals.store(mine, std::memory_order_relaxed);
  // sequentially consistent, so that either a sleeper sees this arrival or we see the sleeper
  me.arrived[slot].store(uint64_t{mine} << 32 | tag, std::memory_order_seq_cst);
  if (c.sleepers.load(std::memory_order_seq_cst) > 0) {
    c.generation.fetch_add(1, std::memory_order_seq_cst);
    futex_wake_all(c.generation);
  }
  uint64_t word = 0;
  const auto there = [&](int r) {
    word = c.member(r).arrived[slot].load(std::memory_order_acquire);
    return static_cast<uint32_t>(word >> 32) == mine;
  };
  int different = -1;
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    watch.until([&] { return there(r); },
                [&] {
                  c.sleepers.fetch_add(1, std::memory_order_seq_cst);
                  const uint32_t bell = c.generation.load(std::memory_order_seq_cst);
                  if (!there(r)) futex_wait(c.generation, bell, watch.shared() ? 20 : 1);
                  c.sleepers.fetch_sub(1, std::memory_order_relaxed);
                },
                [&] {
                  std::vector<int> missing;
                  for (int q = 0; q < size_; ++q)
                    if (q != rank_ && !there(q)) missing.push_back(name_of(q));
                  return missing;
                });
    // from the word just read: reading it again could mean to wait for its line, which the peer writes next
    if (different < 0 && static_cast<uint32_t>(word) != tag) different = r;
  }
  return different;
}

void Windows::barrier(Watch& watch) { arrive(watch, 0); }

void Windows::meet(Watch& watch) {
  Member& me = control_->member(rank_);
  // Two slots: a peer writes slot s again only after this rank has arrived once more, so after the comparison.
  const uint32_t slot = (me.arrivals.load(std::memory_order_relaxed) + 1) & 1;
  me.signature[slot] = watch.signature();
  const int r = arrive(watch, watch.signature().tag());
  if (r >= 0)
    throw_different(watch, name_of(rank_), watch.signature(), name_of(r), control_->member(r).signature[slot]);
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
  return cores > 0 && ranks_here_ > cores;
}

}  // namespace rf
