// How a rank waits: it spins, then yields, then sleeps, and meanwhile looks out for a reason to stop waiting (another
// rank aborted, left or is too late). Every wait of every algorithm goes through `until`.
//
// A wait beyond the warning time says once a collective whom it waits for and where they were last seen; beyond the limit
// it throws that. Where ranks share no memory they ask each other for it, by notices, shortly before.
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
#include "collectives/log.h"
#include "collectives/peers.h"
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
  // Starts a collective of some ranks, a list that outlives it; not counted either.
  void begin(const Signature& signature, const std::vector<int>* members);
  void end() { peer_ = -1; }

  // Returns once ready() is true. `sleep()` gives the processor away for at most some 20 ms; `missing()` names the
  // ranks that are being waited for. `pauses_per_look`: what ready() costs, against an atomic's load.
  template <class Ready, class Sleep, class Missing>
  void until(Ready ready, Sleep sleep, Missing missing, int pauses_per_look = 1) {
    if (ready()) return;
    if (++waits_ % kRetry == 0) spins_ = kSpins;
    const int spins = may_spin() ? std::max(kFewSpins, spins_ / pauses_per_look) : kFewSpins;
    // On a crowded core a look may give it away for milliseconds (MPI yields): then not many before the first listening.
    const auto begin = std::chrono::steady_clock::now();
    const auto enough = [&] { return std::chrono::steady_clock::now() - begin > kPatience; };
    const int clock_every = std::max(1, kFewSpins / pauses_per_look);
    for (int i = 1; i < spins && (i % clock_every != 0 || !enough()); ++i) {
      pause();
      if (ready()) {
        if (i >= kFewSpins) spins_ = std::min(kSpins, spins_ * 2);  // it has paid
        return;
      }
    }
    for (int i = 0; i < kYields && !enough(); ++i) {
      if (ready()) return;
      sched_yield();
    }
    // In vain: the peer may need this very core. Yield sooner next time.
    spins_ = std::max(kFewSpins, spins_ / 2);
    const auto since = std::chrono::steady_clock::now();
    while (!ready()) {
      if (looks_bad(since) && !ready()) give_up(missing());
      if (is_late(since)) speak_up(since, missing());
      sleep();
    }
    if (warned_) say_relieved(since);
  }
  // The same for requests of the transport.
  void until_done(Transport::Request request, int peer) { until_done(*transport_, request, peer); }
  // Of another transport between ranks of this watch.
  void until_done(Transport& transport, Transport::Request request, int peer);

  // Tells all others (through the block, and the transport where it must) and ends every wait here.
  void abort(const std::string& text);
  // Ends every wait here; any thread. True for the first abort.
  bool record_abort(int rank, const std::string& text);
  void announce(Presence presence);
  // Reads what the transport has brought into the block.
  void listen();
  // How often that has been done; from any thread.
  uint64_t listened() const { return listened_.load(std::memory_order_acquire); }
  // Ends waits of this rank only: the communicator is being closed.
  void stop() { stopped_.store(true, std::memory_order_relaxed); }

  // After `warn_s` of waiting, a warning. `peers` names the hosts and must outlive the watch; may be null.
  void set_warning(double warn_s) { warn_s_ = warn_s; }
  void set_peers(const Peers* peers) { peers_ = peers; }
  // The block of this rank's node, where that is another: aborts are kept there as well, for ranks that see a neighbour
  // die and have not listened.
  void set_node_block(ControlBlock* block) { node_block_ = block; }

  // Somebody is blocked until the current job is done, so its core is ours to spin on.
  void set_awaited(const std::atomic<int>* count) { awaited_ = count; }
  void set_crowded(bool crowded) { crowded_ = crowded; }

  ControlBlock& control() { return control_; }
  const Signature& signature() const { return signature_; }
  // Whether all ranks see the block: else somebody must listen to the transport while he waits.
  bool shared() const { return shared_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  uint64_t sequence() const { return sequence_; }
  // "[allreduce] rank 0/2"
  std::string where() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kPatience{2};
  static constexpr int kSpins = 20000 /* about a millisecond */, kFewSpins = 50, kYields = 40, kRetry = 256;

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  bool may_spin() const { return !crowded_ && (!awaited_ || awaited_->load(std::memory_order_relaxed) > 0); }
  bool looks_bad(Time since);
  bool counted() const { return peer_ < 0 && !members_; }
  int departed() const;  // a rank that left before this collective, or -1
  bool is_late(Time since) const;
  void speak_up(Time since, const std::vector<int>& awaited);
  void say_relieved(Time since);
  // "rank 3 (node7, pid 88) has not joined, last seen in collective 117 (bucket 2, step 40)"
  std::string blame(const std::vector<int>& awaited) const;
  std::vector<int> absent() const;  // ranks that are not known to have come as far as this one
  void want_stacks(const std::vector<int>& ranks);
  std::string where_on_host() const;  // "[allreduce] rank 0/2 (node7)"
  std::string place() const;          // "collective 118 (bucket 3, step 41, mean, 25.0 MiB float)"
  [[noreturn]] void give_up(const std::vector<int>& missing);
  [[noreturn]] void throw_aborted() const;
  void send_notice(char kind, const std::string& text);

  ControlBlock& control_;
  const bool shared_;
  Transport* const transport_;
  const int rank_, size_;
  const double timeout_s_;
  double warn_s_ = 1e9;
  const Peers* peers_ = nullptr;
  ControlBlock* node_block_ = nullptr;
  enum class Voice { Silent, Asked, Warned } voice_ = Voice::Silent;  // in this collective
  bool warned_ = false;                                               // in this wait
  uint64_t answered_ = 0;                                             // the collective in which a question was answered
  const std::atomic<int>* awaited_ = nullptr;
  bool crowded_ = false;
  int spins_ = kSpins, waits_ = 0;
  std::atomic<bool> stopped_{false};
  std::atomic<uint64_t> listened_{0};
  Signature signature_;
  uint64_t sequence_ = 0;
  int peer_ = -1;
  const std::vector<int>* members_ = nullptr;  // null: all ranks, or `peer_` only
};

// Throws InvalidArgument that names two ranks and what they call.
[[noreturn]] void throw_different(const Watch& watch, int rank, const Signature& signature, int other,
                                  const Signature& different);

}  // namespace rf
