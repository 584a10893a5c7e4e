// The control block: what ranks tell each other besides data. One per node (in shared memory) or per loopback world
// (on the heap), or a private one where nothing is shared; then the transport's notices fill it in.
//
// Threads: every word that several ranks touch is atomic. A member's plain fields are written by its rank only, before
// an arrival that the readers have seen (Windows::barrier).
// Invariant: the text of an abort never changes once `aborted()` is true; the first rank to abort writes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace rf {

enum class Operation : uint32_t {
  None, Allreduce, Broadcast, Allgather, Send, Receive, Barrier, BucketReduce, Allocate,
  Reduce, ReduceScatter, Alltoall, Split,
};
const char* name_of(Operation operation);

// What a rank calls. Ranks that meet with different words have called different collectives.
struct Signature {
  Operation operation = Operation::None;
  int32_t dtype = 0;
  int32_t reduction = -1;
  int32_t root = -1;
  int64_t count = 0;    // elements, or bytes where the dtype is 0
  int32_t bucket = -1;
  int32_t algorithm = 0;  // that was asked for; told, not compared
  int64_t step = 0;     // how often the bucket has been reduced; told, not compared
  uint64_t detail = 0;  // hash of what else must be the same, such as a list of sizes

  bool operator==(const Signature& other) const {
    return operation == other.operation && dtype == other.dtype && reduction == other.reduction &&
           root == other.root && count == other.count && bucket == other.bucket && detail == other.detail;
  }
  bool operator!=(const Signature& other) const { return !(*this == other); }
  // Equal signatures have equal tags; of different ones one pair in 2^32 has.
  uint32_t tag() const {
    uint64_t h = static_cast<uint64_t>(count) * 0x9E3779B97F4A7C15u ^ detail;
    h = (h ^ h >> 29 ^ static_cast<uint64_t>(static_cast<uint32_t>(bucket)) << 32 ^ static_cast<uint64_t>(operation) << 24 ^
         static_cast<uint64_t>(static_cast<uint32_t>(dtype)) << 16 ^
         static_cast<uint64_t>(static_cast<uint32_t>(reduction)) << 8 ^ static_cast<uint32_t>(root)) *
        0xBF58476D1CE4E5B9u;
    return static_cast<uint32_t>(h >> 32);
  }
  // "allreduce(sum, 25 x float32)"
  std::string str() const;
  // "sum, 25 x float32"; "bucket 3, step 40, mean, 25.0 MiB float32"
  std::string arguments() const;
};

enum class Presence : uint32_t {
  Running,
  Left,  // the program ended, or is ending: this rank joins no further collective
  Told,  // it has said why it ends
};

struct alignas(64) Member {
  static constexpr int kMaskWords = 16;
  void enter(uint64_t number, const Signature& signature);
  // "last seen in collective 117 (bucket 3, step 40)"; "" where it has not been seen in any
  std::string last_seen() const;

  std::atomic<uint64_t> sequence{0};  // the collective this rank is in, or finished last
  std::atomic<uint32_t> operation{0};
  std::atomic<int32_t> bucket{-1};           // of that collective
  std::atomic<int64_t> step{0};
  std::atomic<Presence> presence{Presence::Running};
  std::atomic<uint64_t> stacks_wanted_for{0};  // the collective in which a peer waits and asks what this rank does
  std::atomic<uint32_t> arrivals{0};  // at barriers
  Signature signature[2];             // of its last two arrivals
  // Peers poll these: (arrivals, tag of the signature or 0) of the last two. A rank is at most one arrival ahead.
  alignas(64) std::atomic<uint64_t> arrived[2] = {};
  alignas(64) uint64_t cores[kMaskWords] = {};    // the processors it may run on
};

class ControlBlock {
 public:
  static size_t bytes(int size);
  // Constructs a block for `size` ranks in `memory`, aligned to 64.
  static ControlBlock* create(void* memory, int size);

  int size() const { return size_; }
  Member& member(int rank) { return reinterpret_cast<Member*>(this + 1)[rank]; }

  // The first abort wins; true if this was it. Wakes whoever sleeps in a barrier.
  bool abort(int rank, const std::string& text);
  bool aborted() const { return abort_state_.load(std::memory_order_acquire) == 2; }
  int aborted_by() const { return abort_rank_; }
  std::string abort_text() const { return abort_text_; }

  // Sleepers in a barrier wait for `generation` to change; read by every arrival, written only where somebody sleeps.
  alignas(64) std::atomic<uint32_t> generation{0};
  std::atomic<uint32_t> sleepers{0};
  alignas(64) std::atomic<uint32_t> segment_failures{0};
  char segment_text[256] = {};  // a name, written by the leader between two barriers

 private:
  explicit ControlBlock(int size) : size_(size) {}

  int size_;
  alignas(64) std::atomic<uint32_t> abort_state_{0};  // 0 none, 1 being written, 2 readable
  int abort_rank_ = -1;
  char abort_text_[4000] = {};
};

// Sleeps until *word differs from `seen`, somebody wakes it, or the time is over. Works between processes.
void futex_wait(std::atomic<uint32_t>& word, uint32_t seen, int timeout_ms);
void futex_wake_all(std::atomic<uint32_t>& word);

}  // namespace rf
