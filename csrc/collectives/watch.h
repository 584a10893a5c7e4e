// How a rank waits: it spins, then yields, then sleeps, and meanwhile looks out for a reason to stop waiting (another
// rank aborted, left or is too late). Every wait of every algorithm goes through `until`.
//
// Threads: one thread at a time (the one that runs the communicator's jobs); `stop` from any.
// Invariant: a wait that fails leaves the communicator aborted, because the ranks no longer agree on where they are.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "collectives/control.h"
#include "collectives/transport.h"

namespace rf {

class Watch {
 public:
  // `shared`: the block is seen by all ranks, so notices need not travel by the transport.
  Watch(ControlBlock& control, bool shared, Transport* transport, int rank, int size, double timeout_s);

  // Starts a collective: it gets the next sequence number. Throws Aborted where the communicator is.
  void begin(const Signature& signature);
  // Starts a message to or from one peer; these are not counted.
  void begin(const Signature& signature, int peer);
  void end() { peer_ = -1; }

  // Returns once ready() is true. `sleep()` gives the processor away for at most some 20 ms; `missing()` names the
  // ranks that are being waited for.
  template <class Ready, class Sleep, class Missing>
  void until(Ready ready, Sleep sleep, Missing missing) {
    if (++waits_ % kRetry == 0) spins_ = kSpins;
    const int spins = may_spin() ? spins_ : kFewSpins;
    for (int i = 0; i < spins; ++i) {
      if (ready()) return;
      pause();
    }
    // Spinning was in vain: the peer may need this very core. Yield sooner next time.
    spins_ = std::max(kFewSpins, spins_ / 2);
    for (int i = 0; i < kYields; ++i) {
      if (ready()) return;
      sched_yield();
    }
    const auto since = std::chrono::steady_clock::now();
    while (!ready()) {
      if (looks_bad(since) && !ready()) give_up(since, missing());
      sleep();
    }
  }
  // The same for requests of the transport.
  void until_done(Transport::Request request, int peer);

  // Tells all others (through the block, and the transport where it must) and ends every wait here.
  void abort(const std::string& text);
  void announce(Presence presence);
  // Reads what the transport has brought into the block.
  void listen();
  // Ends waits of this rank only: the communicator is being closed.
  void stop() { stopped_.store(true, std::memory_order_relaxed); }

  // Somebody is blocked until the current job is done, so its core is ours to spin on.
  void set_awaited(const std::atomic<int>* count) { awaited_ = count; }
  void set_crowded(bool crowded) { crowded_ = crowded; }

  ControlBlock& control() { return control_; }
  const Signature& signature() const { return signature_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  uint64_t sequence() const { return sequence_; }
  // "[allreduce] rank 0/2"
  std::string where() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr int kSpins = 2000, kFewSpins = 50, kYields = 40, kRetry = 256;

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  bool may_spin() const { return !crowded_ && (!awaited_ || awaited_->load(std::memory_order_relaxed) > 0); }
  bool looks_bad(Time since);
  int departed() const;  // a rank that left before this collective, or -1
  [[noreturn]] void give_up(Time since, const std::vector<int>& missing);
  [[noreturn]] void throw_aborted() const;
  void send_notice(char kind, const std::string& text);

  ControlBlock& control_;
  const bool shared_;
  Transport* const transport_;
  const int rank_, size_;
  const double timeout_s_;
  const std::atomic<int>* awaited_ = nullptr;
  bool crowded_ = false;
  int spins_ = kSpins, waits_ = 0;
  std::atomic<bool> stopped_{false};
  Signature signature_;
  uint64_t sequence_ = 0;
  int peer_ = -1;
};

}  // namespace rf
