#include "collectives/loopback.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "base/tensor.h"
#include "collectives/mapping.h"

namespace rf {

namespace {

struct Mailbox {  // from one rank to another
  std::mutex mutex;
  std::map<int, std::deque<std::string>> messages;  // by tag
};

struct Notices {
  std::mutex mutex;
  std::deque<std::string> texts;
};

struct Free {
  void operator()(void* p) const { std::free(p); }
};

}  // namespace

// The ranks of one node, and the memory that they share.
struct LoopbackNode {
  explicit LoopbackNode(std::vector<int> ranks)
      : ranks(std::move(ranks)), memory(std::aligned_alloc(64, round_up(ControlBlock::bytes(size()), 64))),
        control(ControlBlock::create(memory.get(), size())) {}
  int size() const { return static_cast<int>(ranks.size()); }

  const std::vector<int> ranks;
  std::unique_ptr<void, Free> memory;
  ControlBlock* const control;
  std::shared_ptr<Segment> segment;  // being handed out; written by the node's rank 0 between two barriers
  std::string problem;               // why there is none
};

class LoopbackWorld {
 public:
  explicit LoopbackWorld(std::vector<int> node_of_rank)
      : size(static_cast<int>(node_of_rank.size())), node_of_rank(std::move(node_of_rank)),
        mailboxes(static_cast<size_t>(size) * static_cast<size_t>(size)), notices(static_cast<size_t>(size)) {
    std::map<int, std::vector<int>> ranks;
    for (int r = 0; r < size; ++r) ranks[this->node_of_rank[static_cast<size_t>(r)]].push_back(r);
    for (auto& [node, members] : ranks) nodes[node] = std::make_unique<LoopbackNode>(members);
  }

  Mailbox& mailbox(int from, int to) { return mailboxes[static_cast<size_t>(from * size + to)]; }
  LoopbackNode& node(int rank) { return *nodes.at(node_of_rank[static_cast<size_t>(rank)]); }

  // The world of those ranks: made by the first that asks, forgotten when the last has it.
  std::shared_ptr<LoopbackWorld> between(const std::vector<int>& ranks, int number) {
    std::lock_guard<std::mutex> lock(mutex);
    auto& [world, takers] = smaller[{ranks, number}];
    if (!world) {
      std::vector<int> their_nodes;
      for (int r : ranks) their_nodes.push_back(node_of_rank[static_cast<size_t>(r)]);
      world = std::make_shared<LoopbackWorld>(std::move(their_nodes));
    }
    const std::shared_ptr<LoopbackWorld> taken = world;
    if (++takers == ranks.size()) smaller.erase({ranks, number});
    return taken;
  }

  const int size;
  const std::vector<int> node_of_rank;
  std::vector<Mailbox> mailboxes;
  std::vector<Notices> notices;  // to each rank
  std::map<int, std::unique_ptr<LoopbackNode>> nodes;

 private:
  std::mutex mutex;
  std::map<std::pair<std::vector<int>, int>, std::pair<std::shared_ptr<LoopbackWorld>, size_t>> smaller;
};

namespace {

class LoopbackTransport : public Transport {
 public:
  LoopbackTransport(std::shared_ptr<LoopbackWorld> world, int rank) : world_(std::move(world)), rank_(rank) {}

  const char* name() const override { return "loopback"; }
  int rank() const override { return rank_; }
  int size() const override { return world_->size; }

  Request start_send(int to, int tag, const void* data, size_t bytes) override {
    Mailbox& box = world_->mailbox(rank_, to);
    std::string message(static_cast<const char*>(data), bytes);
    std::lock_guard<std::mutex> lock(box.mutex);
    box.messages[tag].push_back(std::move(message));
    return kSent;
  }
  Request start_receive(int from, int tag, void* data, size_t bytes) override {
    receives_[++last_] = {from, tag, data, bytes};
    return last_;
  }
  bool done(Request request) override {
    if (request == kSent) return true;
    const auto it = receives_.find(request);
    // an older receive from the same rank takes the message first
    for (auto older = receives_.begin(); older != it; ++older)
      if (older->second.from == it->second.from && older->second.tag == it->second.tag) return false;
    const Receive r = it->second;
    Mailbox& box = world_->mailbox(r.from, rank_);
    std::string message;
    {
      std::lock_guard<std::mutex> lock(box.mutex);
      auto& queue = box.messages[r.tag];
      if (queue.empty()) return false;
      message = std::move(queue.front());
      queue.pop_front();
    }
    receives_.erase(it);
    check(message.size() == r.bytes, "[transport] rank ", rank_, "/", size(), " expects ", r.bytes, " bytes from rank ",
          r.from, ", which sent ", message.size(), ". Fix: call collectives with the same shapes on every rank.");
    if (r.bytes > 0) std::memcpy(r.data, message.data(), r.bytes);
    return true;
  }
  void cancel(Request request) override { receives_.erase(request); }
  std::shared_ptr<Transport> between(const std::vector<int>& ranks, int number) override {
    const auto place = std::find(ranks.begin(), ranks.end(), rank_);
    return loopback_transport(world_->between(ranks, number), static_cast<int>(place - ranks.begin()));
  }
  void announce(const std::string& notice) override {
    for (int r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      Notices& box = world_->notices[static_cast<size_t>(r)];
      std::lock_guard<std::mutex> lock(box.mutex);
      box.texts.push_back(notice);
    }
  }
  bool heard(std::string* notice) override {
    Notices& box = world_->notices[static_cast<size_t>(rank_)];
    std::lock_guard<std::mutex> lock(box.mutex);
    if (box.texts.empty()) return false;
    *notice = std::move(box.texts.front());
    box.texts.pop_front();
    return true;
  }
  const std::shared_ptr<LoopbackWorld>& world() const { return world_; }

 private:
  static constexpr Request kSent = 0;
  struct Receive {
    int from, tag;
    void* data;
    size_t bytes;
  };
  std::shared_ptr<LoopbackWorld> world_;
  const int rank_;
  Request last_ = kSent;
  std::map<Request, Receive> receives_;
};

class LoopbackWindows : public Windows {
 public:
  LoopbackWindows(std::shared_ptr<LoopbackWorld> world, int rank)
      : Windows(place_of(world->node(rank), rank), world->node(rank).size()), world_(std::move(world)),
        node_(world_->node(rank)) {
    control_ = node_.control;
    ranks_here_ = world_->size;
    publish_cores();
  }
  std::shared_ptr<Segment> allocate(size_t bytes, SegmentLayout layout, Watch& watch, std::string* problem) override {
    if (rank_ == 0) {
      node_.segment = nullptr;
      try {
        const size_t total = MappedSegment::total_bytes(size_, bytes, layout);
        node_.segment = std::make_shared<MappedSegment>(size_, bytes, layout, Mapping::anonymous(total));
      } catch (const Error& e) {
        node_.problem = e.what();
      }
    }
    barrier(watch);
    if (!node_.segment) *problem = node_.problem;
    std::shared_ptr<Segment> mine = node_.segment;
    barrier(watch);
    if (rank_ == 0) node_.segment.reset();
    return mine;
  }

 private:
  static int place_of(const LoopbackNode& node, int rank) {
    return static_cast<int>(std::find(node.ranks.begin(), node.ranks.end(), rank) - node.ranks.begin());
  }
  std::shared_ptr<LoopbackWorld> world_;
  LoopbackNode& node_;
};


}  // namespace

std::shared_ptr<LoopbackWorld> make_loopback_world(int size, std::vector<int> nodes) {
  check(size >= 1, "[loopback] a world has at least one rank, not ", size);
  if (nodes.empty()) nodes.assign(static_cast<size_t>(size), 0);
  check(nodes.size() == static_cast<size_t>(size), "[loopback] a node for each of ", size, " ranks is needed, got ",
        nodes.size());
  return std::make_shared<LoopbackWorld>(std::move(nodes));
}
int size_of(const LoopbackWorld& world) { return world.size; }
std::shared_ptr<Transport> loopback_transport(std::shared_ptr<LoopbackWorld> world, int rank) {
  return std::make_shared<LoopbackTransport>(std::move(world), rank);
}
std::shared_ptr<Windows> loopback_windows(std::shared_ptr<LoopbackWorld> world, int rank) {
  return std::make_shared<LoopbackWindows>(std::move(world), rank);
}
std::shared_ptr<Windows> loopback_windows(const Transport& transport) {
  return loopback_windows(dynamic_cast<const LoopbackTransport&>(transport).world(), transport.rank());
}

}  // namespace rf
