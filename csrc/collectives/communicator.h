// A communicator: P ranks that call the same collectives in the same order.
//
// It puts a transport (always) and windows (where all ranks share memory) under an algorithm: one_pass.h over windows,
// ring.h over the transport. Threads: any thread may call; calls run one at a time in the order made (progress.h).
// A rank that fails calls `abort`: every rank that waits in a collective, or enters one, throws Aborted with that text.
// With one rank every call returns at once and no thread is started.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "collectives/one_pass.h"
#include "collectives/progress.h"
#include "collectives/reduction.h"
#include "collectives/transport.h"
#include "collectives/windows.h"

namespace rf {

enum class Algorithm { Auto, OnePass, Ring };
Algorithm algorithm_of(const std::string& name);  // "auto", "one_pass", "ring"; InvalidArgument otherwise
const char* name_of(Algorithm algorithm);

// Pinned memory for one recurring allreduce. Fill `input()`, start, wait, read `result()` in place.
// After the wait `input()` may be filled again, and `result()` holds until this rank starts the bucket again.
// `result()` is shared by all ranks: it must not be written. Where the ranks share no memory it is `input()` itself.
class Bucket {
 public:
  void* input() const { return input_; }
  const void* result() const { return result_; }
  size_t bytes() const { return bytes_; }
  bool shared() const { return segment_ != nullptr; }
  // 16-bit floats travel between hosts as such, not widened to 32 bits: the bytes matter more than a rounding.
  void keep_narrow() { narrow_ = true; }

 private:
  friend class Communicator;
  size_t bytes_ = 0;
  int number_ = 0;  // in order of creation
  bool narrow_ = false;
  int64_t runs_ = 0;  // touched by jobs only
  void* input_ = nullptr;
  void* result_ = nullptr;
  std::shared_ptr<Segment> segment_;  // null: private memory
  std::shared_ptr<void> memory_;
};

struct CommunicatorOptions {
  Algorithm algorithm = Algorithm::Auto;
  double timeout_s = 600;   // of every wait
  double warn_s = 30;       // a wait that takes longer is reported
  bool background = true;   // false: MPI may be called only by the thread that calls us
};

class Communicator {
 public:
  // `transport` null: a world of one. `windows` null: the ranks share no memory.
  Communicator(std::shared_ptr<Transport> transport, std::shared_ptr<Windows> windows, CommunicatorOptions options);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  const char* transport_name() const;
  // What an allreduce runs: OnePass or Ring.
  Algorithm algorithm() const { return use_windows() ? Algorithm::OnePass : Algorithm::Ring; }

  // In place.
  void allreduce(void* data, int64_t count, DType dtype, Reduction reduction);
  void broadcast(void* data, size_t bytes, int root);
  // `bytes` from every rank, concatenated in rank order.
  void allgather(const void* in, void* out, size_t bytes);
  // `bytes[r]` from rank r; the same list on every rank.
  void allgatherv(const void* in, void* out, const std::vector<size_t>& bytes);
  void send(const void* data, size_t bytes, int to, int tag);
  void receive(void* data, size_t bytes, int from, int tag);
  void barrier();

  // Collective: every rank makes the same buckets in the same order. Zero-filled.
  std::shared_ptr<Bucket> bucket(size_t bytes);
  // Reduces the first `count` elements. Returns at once; collective. `overlap` false: the wait follows at once, so that
  // the waiting thread had better do it itself.
  Progress::Ticket start(const std::shared_ptr<Bucket>& bucket, int64_t count, DType dtype, Reduction reduction,
                         bool overlap = true);
  void wait(Progress::Ticket ticket);

  // Failure. `text` says who and why ("rank 1/2 (host) ended: ValueError: ..."). The first abort counts.
  void abort(const std::string& text);
  // This rank joins no further collective; whoever waits for it is told.
  void leave();
  // This rank has reported the abort. `wait_told` waits until every other rank has, or has left, and returns how many
  // have; -1 after timeout_s.
  void tell();
  int wait_told(double timeout_s);
  bool aborted();
  int aborted_by() const { return control_->aborted_by(); }
  std::string abort_text() const { return control_->abort_text(); }
  // Who the others are, to name them and to see them die. Before the first collective, at most once.
  void set_peers(std::vector<Peer> peers);
  // For a thread that looks after this process (supervision.cc): returns when there is something to do. "stacks": a
  // peer waits for this rank and wants to see what it does; "died": a peer has, which has been said and ends all
  // collectives; "overdue": an abort is as old as the timeout and the program still runs; "closed": nothing more will come.
  const char* supervise();
  // Ends the communication thread; later calls throw. Must precede MPI_Finalize.
  void close();

 private:
  bool use_windows() const { return windows_ && options_.algorithm != Algorithm::Ring; }
  void begin(const Signature& signature);
  void agree_first();
  Segment* passage();
  void give_private_memory(Bucket& bucket) const;
  void check_peer(Operation operation, int peer) const;

  const std::shared_ptr<Transport> transport_;
  const std::shared_ptr<Windows> windows_;
  const CommunicatorOptions options_;
  const int rank_, size_;
  std::unique_ptr<char[]> control_memory_;  // of a private block
  ControlBlock* control_;
  std::unique_ptr<Peers> peers_;
  std::atomic<bool> closed_{false};
  uint64_t stacks_shown_for_ = 0;  // this and the next: of the supervising thread
  std::chrono::steady_clock::time_point aborted_since_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Progress> progress_;
  std::shared_ptr<Segment> passage_;
  bool begun_ = false, passage_asked_ = false;
  int buckets_ = 0;
};

}  // namespace rf
