// The ranks that take part in an algorithm, and the messages between them: what ring.h, halving_doubling.h, tree.h and
// exchange.h are written over. A group is all ranks of a transport or some of them, in an order of its own.
//
// Threads: one thread at a time, as the transport; `bytes_sent` from any.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "collectives/reduction.h"
#include "collectives/transport.h"
#include "collectives/watch.h"

namespace rf {

constexpr size_t kSegmentBytes = 256 << 10;  // long messages are cut: while one is reduced the next is on its way
constexpr int kCollectiveTag = 1;            // messages between two ranks arrive in order: one tag serves all collectives

class Group {
 public:
  // members: ranks of the transport, this one among them; empty: all of them. names: what the watch calls the
  // transport's ranks; empty: the same.
  Group(Transport& transport, Watch& watch, std::vector<int> members = {}, const std::vector<int>& names = {});

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.size()); }
  Watch& watch() const { return watch_; }
  Transport& transport() const { return transport_; }
  int member(int rank) const { return members_[static_cast<size_t>(rank)]; }  // its rank in the transport
  int name(int rank) const { return names_[static_cast<size_t>(rank)]; }      // in the watch
  // Payload that was handed to the transport; agreements and notices are not counted.
  uint64_t bytes_sent() const { return bytes_sent_.load(std::memory_order_relaxed); }
  void count(size_t bytes) { bytes_sent_.fetch_add(bytes, std::memory_order_relaxed); }

 private:
  Transport& transport_;
  Watch& watch_;
  std::vector<int> members_, names_;
  int rank_ = 0;
  std::atomic<uint64_t> bytes_sent_{0};
};

// Messages under way. Whatever has not ended when an error flies past is given up.
class Requests {
 public:
  explicit Requests(Group& group) : group_(group) {}
  ~Requests();
  void send(int to, const void* data, size_t bytes);
  void receive(int from, void* data, size_t bytes);
  // In segments.
  void send_all(int to, const void* data, size_t bytes);
  void receive_all(int from, void* data, size_t bytes);
  // Waits for the oldest message.
  void wait_one();
  void wait_all();

 private:
  struct Pending {
    Transport::Request request;
    int peer;
  };
  Group& group_;
  std::vector<Pending> pending_;
  size_t first_ = 0;
};

// Calls f(offset, bytes) for each segment of a message.
template <class F>
void each_segment(size_t bytes, F&& f) {
  for (size_t done = 0; done < bytes; done += kSegmentBytes) f(done, std::min(kSegmentBytes, bytes - done));
}

// Where the arriving operand stands; the order decides which NaN or zero wins, so it must be the same on all ranks.
enum class Order { TheirsFirst, MineFirst };

// Receives `bytes` and combines them with `mine`, segment by segment.
void receive_and_reduce(Group& group, int from, char* mine, size_t bytes, DType dtype, Reduction reduction,
                        Order order);

}  // namespace rf
