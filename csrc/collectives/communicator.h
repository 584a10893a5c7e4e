// A communicator: P ranks that call the same collectives in the same order.
//
// It puts a transport (always) and windows (where ranks of a node share memory) under an algorithm: one_pass.h where
// all ranks share windows, hierarchical.h where each node has its own, ring.h, halving_doubling.h and tree.h over the
// transport, chosen by selection.h. operations.cc has the operations, buckets.cc the memory that ranks share,
// supervision.cc what looks after the processes, communicator.cc the rest.
// A communicator that was split off is a view of its parent: the same thread, deadlines and aborts, messages and
// windows of its own. Ranks that are in both must call both in the same order.
// Threads: any thread may call; calls run one at a time in the order made (progress.h).
// A rank that fails calls `abort`: every rank that waits in a collective, or enters one, throws Aborted with that text.
// With one rank every call returns at once and no thread is started.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collectives/group.h"
#include "collectives/one_pass.h"
#include "collectives/progress.h"
#include "collectives/reduction.h"
#include "collectives/selection.h"
#include "collectives/transport.h"
#include "collectives/windows.h"

namespace rf {

// Pinned memory for one recurring allreduce. Fill `input()`, start, wait, read `result()` in place.
// Apart: after the wait `input()` may be filled again, and `result()` holds until this rank starts the bucket again.
// In place: `result()` holds until some rank fills its `input()` again, so ranks meet (`barrier`) in between. There is one
// copy less of it to keep in caches, and small ones take one barrier less.
// `result()` is shared by the ranks of a node: it must not be written. Where they share no memory it is `input()` itself.
class Bucket {
 public:
  void* input() const { return input_; }
  const void* result() const { return result_; }
  size_t bytes() const { return bytes_; }
  bool shared() const { return segment_ != nullptr; }
  // 16-bit floats travel between hosts as such whatever the length, never widened to 32 bits: always by ring.h.
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
  std::vector<int> nodes = {};  // of every rank; empty: all on one
  // Makes the windows of communicators that are split off; null: they have none. As join_node_memory.
  std::function<std::shared_ptr<Windows>(Transport&, const std::vector<int>& nodes, std::string* problem)> join = {};
};

class Communicator : public std::enable_shared_from_this<Communicator> {
 public:
  // `transport` null: a world of one. `windows`: of this rank's node; null on all ranks where they share no memory.
  Communicator(std::shared_ptr<Transport> transport, std::shared_ptr<Windows> windows, CommunicatorOptions options);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  const char* transport_name() const;
  // What an allreduce of so many bytes runs.
  Algorithm algorithm(size_t bytes = size_t{64} << 20) const;
  // What it could run here.
  std::vector<Algorithm> algorithms() const;
  // Replaces the built-in table; the same on every rank.
  void set_selection(Selection selection);
  const std::vector<int>& nodes() const { return options_.nodes; }
  // Whether all ranks read each other's memory, so that buckets can be reduced in place.
  bool shares_memory() const { return all_share() && use_windows(); }
  // Payload that this rank has handed to the transport.
  uint64_t bytes_sent() const;

  // In place. An algorithm that is not usable here is InvalidArgument.
  void allreduce(void* data, int64_t count, DType dtype, Reduction reduction, Algorithm algorithm = Algorithm::Auto);
  // The result is on the root; elsewhere `data` is scratch.
  void reduce(void* data, int64_t count, DType dtype, Reduction reduction, int root);
  // `counts[r]` elements of `in`, in rank order, are reduced into rank r's `out`.
  void reduce_scatter(const void* in, void* out, const std::vector<int64_t>& counts, DType dtype, Reduction reduction);
  void broadcast(void* data, size_t bytes, int root);
  // `bytes` from every rank, concatenated in rank order.
  void allgather(const void* in, void* out, size_t bytes);
  // `bytes[r]` from rank r; the same list on every rank.
  void allgatherv(const void* in, void* out, const std::vector<size_t>& bytes);
  // `in_bytes[r]` for rank r, in rank order; `out_bytes[r]` from rank r, which must say the same.
  void alltoallv(const void* in, const std::vector<size_t>& in_bytes, void* out, const std::vector<size_t>& out_bytes);
  void send(const void* data, size_t bytes, int to, int tag);
  void receive(void* data, size_t bytes, int from, int tag);
  void barrier();
  // Collective. The ranks of equal `color`, in order of (key, rank); null where the color is negative.
  std::shared_ptr<Communicator> split(int color, int key);

  // Collective: every rank makes the same buckets in the same order. Zero-filled.
  std::shared_ptr<Bucket> bucket(size_t bytes, bool in_place = false);
  // Collective. Zero-filled memory that all ranks of a node address; null on all of them where they share none.
  std::shared_ptr<Segment> common(size_t bytes);
  // Reduces the first `count` elements. Returns at once; collective. `overlap` false: the wait follows at once, so that
  // the waiting thread had better do it itself.
  Progress::Ticket start(const std::shared_ptr<Bucket>& bucket, int64_t count, DType dtype, Reduction reduction,
                         bool overlap = true);
  void wait(Progress::Ticket ticket);
  // Both in one, on this thread unless another collective is under way.
  void allreduce(Bucket& bucket, int64_t count, DType dtype, Reduction reduction);

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
  Communicator(const std::shared_ptr<Communicator>& parent, std::shared_ptr<Transport> transport,
               std::shared_ptr<Windows> windows, CommunicatorOptions options, std::vector<int> names);
  void arrange();
  bool all_share() const { return windows_ && windows_->size() == size_; }
  bool use_windows() const;
  bool usable(Algorithm algorithm) const;
  Algorithm choose(Algorithm asked, size_t bytes, bool with_windows) const;
  void begin(const Signature& signature);
  void over_transport(Algorithm algorithm, void* data, int64_t count, DType dtype, Reduction reduction);
  bool on_every_node(bool good);
  void agree_first();
  void hear_last_words(int from);
  Segment* passage();
  void give_private_memory(Bucket& bucket) const;
  void check_bucket(const Bucket& bucket, int64_t count, DType dtype, Reduction reduction) const;
  void reduce_in(Bucket& bucket, int64_t count, DType dtype, Reduction reduction);
  void check_peer(Operation operation, int peer) const;

  const std::shared_ptr<Transport> transport_;
  const std::shared_ptr<Windows> windows_;
  CommunicatorOptions options_;
  const int rank_, size_;
  const std::shared_ptr<Communicator> parent_;  // what the watch and the jobs belong to
  const std::vector<int> names_;                // the parents' ranks of these ranks, in the watch's numbers
  std::unique_ptr<char[]> control_memory_;  // of a private block
  ControlBlock* control_;
  std::unique_ptr<Peers> peers_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> unsaid_{false};  // an abort by this rank that could not be sent in time
  uint64_t stacks_shown_for_ = 0;  // this and the next: of the supervising thread
  std::chrono::steady_clock::time_point aborted_since_;
  std::shared_ptr<Watch> watch_;
  std::shared_ptr<Progress> progress_;
  std::unique_ptr<Group> group_;    // all ranks
  std::unique_ptr<Group> between_;  // the carriers of one slice on all nodes; null where this rank carries none
  int carriers_ = 0;                // slices; 0 without windows
  Selection selection_{{{0, Algorithm::Ring}}};
  std::shared_ptr<Segment> passage_;
  bool begun_ = false, passage_asked_ = false;
  int buckets_ = 0, splits_ = 0;
};

}  // namespace rf
