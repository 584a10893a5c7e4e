#include "collectives/shared_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>
#include <vector>

#include "collectives/mapping.h"
#include "collectives/ring.h"

namespace rf {
namespace {

// Removes a name from /dev/shm when the scope is left, by an error too.
struct Unlink {
  explicit Unlink(std::string name) : name(std::move(name)) {}
  ~Unlink() {
    if (!name.empty()) shm_unlink(name.c_str());
  }
  const std::string name;
};

class SharedMemory : public Windows {
 public:
  SharedMemory(int rank, int size, std::string prefix, Mapping control)
      : Windows(rank, size), prefix_(std::move(prefix)), control_mapping_(std::move(control)) {
    control_ = static_cast<ControlBlock*>(control_mapping_.data());
    publish_cores();
  }

  std::shared_ptr<Segment> allocate(size_t bytes, SegmentLayout layout, Watch& watch, std::string* problem) override {
    const size_t total = MappedSegment::total_bytes(size_, bytes, layout);
    std::unique_ptr<Mapping> mapping;
    barrier(watch);  // a name must not wait for ranks that may never come
    std::unique_ptr<Unlink> unlink;
    if (rank_ == 0) {
      control_->segment_failures.store(0);
      const std::string name = prefix_ + "." + std::to_string(++created_);
      const bool created = try_to(problem, [&] { mapping = std::make_unique<Mapping>(Mapping::create(name, total)); });
      if (created) unlink = std::make_unique<Unlink>(name);
      say(created ? name : *problem, created);
    }
    barrier(watch);
    const std::string said(control_->segment_text + 1);
    const bool created = control_->segment_text[0] == '+';
    if (!created) *problem = said;
    std::shared_ptr<Segment> segment;
    if (created && !try_to(problem, [&] {
          if (!mapping) mapping = std::make_unique<Mapping>(Mapping::open(said, total));
          const size_t mine = static_cast<size_t>(rank_) * bytes, all = static_cast<size_t>(size_) * bytes;
          if (layout != SegmentLayout::Common) mapping->reserve(mine, bytes);
          if (rank_ == 0 && layout == SegmentLayout::Common) mapping->reserve(0, bytes);
          if (rank_ == 0 && layout == SegmentLayout::Apart) mapping->reserve(all, bytes);
          segment = std::make_shared<MappedSegment>(size_, bytes, layout, std::move(*mapping));
        }))
      control_->segment_failures.fetch_add(1);
    barrier(watch);
    unlink.reset();
    const uint32_t failures = control_->segment_failures.load();
    barrier(watch);  // everybody has read text and failures
    if (!created || failures > 0) {
      if (problem->empty()) *problem = "another rank could not map a segment";
      return nullptr;
    }
    return segment;
  }

 private:
  template <class F>
  static bool try_to(std::string* problem, F&& f) {
    try {
      f();
      return true;
    } catch (const Error& e) {
      *problem = e.what();
      return false;
    }
  }
  void say(const std::string& what, bool good) {
    control_->segment_text[0] = good ? '+' : '-';
    std::strncpy(control_->segment_text + 1, what.c_str(), sizeof control_->segment_text - 2);
  }

  const std::string prefix_;
  Mapping control_mapping_;
  int created_ = 0;
};

}  // namespace

std::shared_ptr<Windows> join_shared_memory(Transport& transport, const std::string& job, double timeout_s,
                                            std::string* problem) {
  const int rank = transport.rank(), size = transport.size();
  const size_t bytes = ControlBlock::bytes(size);
  // Until there is a shared block the ranks talk by the transport, watched by a private one.
  std::vector<char> memory(bytes + 64);
  void* aligned = memory.data() + 64 - reinterpret_cast<uintptr_t>(memory.data()) % 64;
  Watch watch(*ControlBlock::create(aligned, size), false, &transport, rank, size, timeout_s);
  Signature signature;
  signature.operation = Operation::Allocate;
  signature.count = static_cast<int64_t>(bytes);
  watch.begin(signature);
  Group group(transport, watch);

  struct Offer {
    char created, name[127], problem[256];
  } offer{};
  ring::barrier(group);  // a name must not wait for ranks that may never come
  std::unique_ptr<Mapping> mapping;
  std::unique_ptr<Unlink> unlink;
  if (rank == 0) {
    std::string name = "/ringflow." + job + "." + std::to_string(getpid());
    if (name.size() >= sizeof offer.name - 16) name.resize(sizeof offer.name - 16);
    for (size_t i = 1; i < name.size(); ++i)
      if (name[i] == '/') name[i] = '_';
    std::strncpy(offer.name, name.c_str(), sizeof offer.name - 1);
    try {
      mapping = std::make_unique<Mapping>(Mapping::create(name, bytes));
      unlink = std::make_unique<Unlink>(name);
      ControlBlock::create(mapping->data(), size);
      offer.created = 1;
    } catch (const Error& e) {
      std::strncpy(offer.problem, e.what(), sizeof offer.problem - 1);
    }
  }
  ring::broadcast(group, &offer, sizeof offer, 0);
  if (offer.created && rank != 0) {
    try {
      mapping = std::make_unique<Mapping>(Mapping::open(offer.name, bytes));
    } catch (const Error& e) {
      std::strncpy(offer.problem, e.what(), sizeof offer.problem - 1);
    }
  }
  int32_t attached = mapping ? 1 : 0;
  ring::allreduce(group, &attached, 1, DType::Int32, Reduction::Min);
  unlink.reset();
  if (!attached) {
    *problem = offer.problem[0] ? offer.problem : "another rank cannot map the segment";
    return nullptr;
  }
  mapping->close_file();
  return std::make_shared<SharedMemory>(rank, size, offer.name, std::move(*mapping));
}

std::shared_ptr<Windows> join_node_memory(Transport& transport, const std::vector<int>& nodes, const std::string& job,
                                          double timeout_s, std::string* problem) {
  std::vector<int> mine;
  for (size_t r = 0; r < nodes.size(); ++r)
    if (nodes[r] == nodes[static_cast<size_t>(transport.rank())]) mine.push_back(static_cast<int>(r));
  if (mine.size() == nodes.size()) return join_shared_memory(transport, job, timeout_s, problem);
  // Nodes with one rank have windows as well: a slice of theirs is reduced like any other.
  const std::shared_ptr<Transport> node = transport.between(mine, 0);
  std::shared_ptr<Windows> windows = join_shared_memory(*node, job, timeout_s, problem);
  std::vector<char> memory(ControlBlock::bytes(transport.size()) + 64);
  void* aligned = memory.data() + 64 - reinterpret_cast<uintptr_t>(memory.data()) % 64;
  Watch watch(*ControlBlock::create(aligned, transport.size()), false, &transport, transport.rank(), transport.size(),
              timeout_s);
  Signature signature;
  signature.operation = Operation::Allocate;
  watch.begin(signature);
  Group all(transport, watch);
  int32_t joined = windows ? 1 : 0;
  ring::allreduce(all, &joined, 1, DType::Int32, Reduction::Min);
  if (!joined && problem->empty()) *problem = "another node's ranks cannot";
  return joined ? windows : nullptr;
}

}  // namespace rf
