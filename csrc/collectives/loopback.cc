#include "collectives/loopback.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

namespace rf {

namespace {

struct Mailbox {  // from one rank to another
  std::mutex mutex;
  std::map<int, std::deque<std::string>> messages;  // by tag
};

struct Free {
  void operator()(void* p) const { std::free(p); }
};

class HeapSegment : public Segment {
 public:
  HeapSegment(int size, size_t bytes) : Segment(size, bytes) {
    const size_t total = (static_cast<size_t>(size) + 1) * bytes;
    memory_.reset(std::aligned_alloc(kPage, total));
    if (!memory_) fail(Code::Internal, "out of memory: cannot allocate ", total, " bytes of windows");
    base_ = static_cast<char*>(memory_.get());
    std::memset(base_, 0, total);
  }

 private:
  std::unique_ptr<void, Free> memory_;
};

}  // namespace

class LoopbackWorld {
 public:
  explicit LoopbackWorld(int size)
      : size(size), mailboxes(static_cast<size_t>(size) * static_cast<size_t>(size)),
        memory(std::aligned_alloc(64, ControlBlock::bytes(size))), control(ControlBlock::create(memory.get(), size)) {}

  Mailbox& mailbox(int from, int to) { return mailboxes[static_cast<size_t>(from * size + to)]; }

  const int size;
  std::vector<Mailbox> mailboxes;
  std::unique_ptr<void, Free> memory;
  ControlBlock* const control;
  std::shared_ptr<Segment> segment;  // being handed out; written by rank 0 between two barriers
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
  void announce(const std::string&) override {}  // the control block is shared
  bool heard(std::string*) override { return false; }

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
      : Windows(rank, world->size), world_(std::move(world)) {
    control_ = world_->control;
    publish_cores();
  }
  std::shared_ptr<Segment> allocate(size_t bytes, Watch& watch, std::string*) override {
    if (rank_ == 0) world_->segment = std::make_shared<HeapSegment>(size_, bytes);
    barrier(watch);
    std::shared_ptr<Segment> mine = world_->segment;
    barrier(watch);
    if (rank_ == 0) world_->segment.reset();
    return mine;
  }

 private:
  std::shared_ptr<LoopbackWorld> world_;
};

}  // namespace

std::shared_ptr<LoopbackWorld> make_loopback_world(int size) {
  check(size >= 1, "[loopback] a world has at least one rank, not ", size);
  return std::make_shared<LoopbackWorld>(size);
}
int size_of(const LoopbackWorld& world) { return world.size; }
std::shared_ptr<Transport> loopback_transport(std::shared_ptr<LoopbackWorld> world, int rank) {
  return std::make_shared<LoopbackTransport>(std::move(world), rank);
}
std::shared_ptr<Windows> loopback_windows(std::shared_ptr<LoopbackWorld> world, int rank) {
  return std::make_shared<LoopbackWindows>(std::move(world), rank);
}

}  // namespace rf
