#include "collectives/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

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

// A mapped shared-memory object.
class Mapping {
 public:
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_), file_(std::exchange(other.file_, -1)) {}
  Mapping(const Mapping&) = delete;
  ~Mapping() {
    if (data_) munmap(data_, bytes_);
    if (file_ >= 0) close(file_);
  }

  static Mapping create(const std::string& name, size_t bytes) {
    struct statvfs disk;
    if (statvfs("/dev/shm", &disk) == 0) {
      const size_t free_bytes = static_cast<size_t>(disk.f_bavail) * disk.f_frsize;
      if (free_bytes < bytes)
        fail(Code::Unavailable, "/dev/shm has ", free_bytes >> 20, " MiB free and ", (bytes >> 20) + 1,
             " MiB are needed");
    }
    const int file = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
    if (file < 0) refuse("shm_open", name);
    if (ftruncate(file, static_cast<off_t>(bytes)) != 0) {
      const int error = errno;
      close(file);
      shm_unlink(name.c_str());
      errno = error;
      refuse("ftruncate", name);
    }
    return Mapping(file, bytes, name);
  }
  static Mapping open(const std::string& name, size_t bytes) {
    const int file = shm_open(name.c_str(), O_RDWR, 0600);
    if (file < 0) refuse("shm_open", name);
    return Mapping(file, bytes, name);
  }

  void* data() const { return data_; }
  // Reserves the pages, on this processor's NUMA node.
  void reserve(size_t offset, size_t bytes) {
    if (const int error = posix_fallocate(file_, static_cast<off_t>(offset), static_cast<off_t>(bytes))) {
      errno = error;
      refuse("posix_fallocate", "a window");
    }
  }
  void close_file() {
    close(file_);
    file_ = -1;
  }

 private:
  Mapping(int file, size_t bytes, const std::string& name) : bytes_(bytes), file_(file) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (data == MAP_FAILED) {
      close(file);
      refuse("mmap", name);
    }
    data_ = data;
  }
  [[noreturn]] static void refuse(const char* call, const std::string& name) {
    fail(Code::Unavailable, call, " of ", name, ": ", std::strerror(errno));
  }

  void* data_ = nullptr;
  size_t bytes_;
  int file_;
};

class SharedSegment : public Segment {
 public:
  SharedSegment(int size, size_t bytes, Mapping mapping) : Segment(size, bytes), mapping_(std::move(mapping)) {
    base_ = static_cast<char*>(mapping_.data());
  }

 private:
  Mapping mapping_;
};

class SharedMemory : public Windows {
 public:
  SharedMemory(int rank, int size, std::string prefix, Mapping control)
      : Windows(rank, size), prefix_(std::move(prefix)), control_mapping_(std::move(control)) {
    control_ = static_cast<ControlBlock*>(control_mapping_.data());
    publish_cores();
  }

  std::shared_ptr<Segment> allocate(size_t bytes, Watch& watch, std::string* problem) override {
    const size_t total = (static_cast<size_t>(size_) + 1) * bytes;
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
    if (created && !try_to(problem, [&] {
          if (!mapping) mapping = std::make_unique<Mapping>(Mapping::open(said, total));
          mapping->reserve(static_cast<size_t>(rank_) * bytes, bytes);
          if (rank_ == 0) mapping->reserve(static_cast<size_t>(size_) * bytes, bytes);
          mapping->close_file();
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
    return std::make_shared<SharedSegment>(size_, bytes, std::move(*mapping));
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
