// Kernels of the reproducible mode: the exact mean of a bucket of gradients over all shards of all ranks.
//
//   _ExactMaxima  inputs: for each of the bucket's tensors the gradients of this rank's shards. Finds the largest
//                 exponent of every block and starts their maximum over the ranks, with the rows that each rank has
//                 put in a shard
//   _ExactSum     same inputs: waits for the maxima, adds the shards as fixed-point numbers, starts the sum over ranks
//   _ExactMean    waits for it; outputs the means
//
// In each run they follow one another; a bucket begins when the one before it has been through. Every rank decides
// alike what to do about Inf and NaN, because it is the maximum over the ranks that tells: one more sum, of their
// codes. Order and means are those of collectives/exact.h, which see. Threading: as for any kernel, one run of a plan
// at a time.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>

#include "base/tensor.h"
#include "collectives/exact.h"
#include "kernels/kernel.h"
#include "kernels/state.h"
#include "runtime/collective_ops.h"

namespace rf {
namespace {

using exact::kBlock;

// Memory and state of one bucket. Every tensor begins on a block and on a 64-byte boundary.
struct ExactBucket {
  std::shared_ptr<Bucket> maxima, sums;
  std::vector<int64_t> elements, first, first_block;  // of each tensor: its size, its place in `sums`, its first block
  int64_t total = 0, blocks = 0;
  size_t header = 0;                           // words before the exponents: rows of a shard and their negatives
  int shards = 0;                              // over all ranks
  Progress::Ticket ticket = 0;                 // of the reduction under way
  std::vector<std::pair<size_t, int64_t>> odd; // (tensor, block in it) with Inf or NaN, in this run
  std::vector<int32_t> codes;                  // kBlock for each of them

  int32_t* own_exponents() { return static_cast<int32_t*>(maxima->input()) + header; }
  const int32_t* exponents() const { return static_cast<const int32_t*>(maxima->result()) + header; }
  int64_t size_of_block(size_t k, int64_t block) const { return std::min(kBlock, elements[k] - block * kBlock); }
};

// Resource "exact buckets" of container "": a bucket for each layout, made by its first run, which is collective.
class ExactBuckets : public Resource {
 public:
  explicit ExactBuckets(std::shared_ptr<CommunicatorResource> resource) : resource_(std::move(resource)) {}
  Communicator& communicator() { return resource_->communicator(); }

  template <class T>
  std::shared_ptr<ExactBucket> bucket(const Node& node) {
    std::vector<int64_t> elements = node.list<int64_t>("elements");
    const int64_t shards = node.attr<int64_t>("shards");
    const size_t rows = node.list<int64_t>("rows").size();
    check(shards >= communicator().size() && shards <= exact::kMostShards, "[", node.op, "] attr 'shards' is in [",
          communicator().size(), ", ", exact::kMostShards, "]: node '", node.name, "' has ", shards);
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<ExactBucket>& slot =
        buckets_[{node.attr<int64_t>("bucket"), DTypeOf<T>::value, elements, shards, rows}];
    if (slot) return slot;
    auto made = std::make_shared<ExactBucket>();
    constexpr int64_t align = kAlignment / sizeof(T);
    for (int64_t n : elements) {
      check(n >= 0 && n <= (int64_t{1} << 40), "[", node.op, "] attr 'elements' of node '", node.name, "' has ", n);
      made->first.push_back(made->total);
      made->first_block.push_back(made->blocks);
      made->total += (n + align - 1) / align * align;
      made->blocks += exact::blocks_of(n);
    }
    made->elements = std::move(elements);
    made->shards = static_cast<int>(shards);
    made->header = 2 * rows;
    made->maxima = communicator().bucket(words(*made) * sizeof(int32_t));
    made->sums = communicator().bucket(static_cast<size_t>(made->total) * sizeof(typename exact::Fixed<T>::type));
    return slot = std::move(made);
  }

  // The header, then an exponent and a flag for each block.
  static size_t words(const ExactBucket& b) { return b.header + 2 * static_cast<size_t>(b.blocks); }

 private:
  using Layout = std::tuple<int64_t, DType, std::vector<int64_t>, int64_t, size_t>;
  const std::shared_ptr<CommunicatorResource> resource_;
  std::mutex mutex_;
  std::map<Layout, std::shared_ptr<ExactBucket>> buckets_;
};

// A kernel's handle on its bucket.
template <class T>
class BucketOf {
 public:
  ExactBucket& get(Context& c) {
    const uint64_t version = c.resources().version();
    if (!bucket_ || version_ != version) {
      auto resource = std::dynamic_pointer_cast<CommunicatorResource>(c.resources().find(kCommunicatorContainer, "communicator"));
      if (!resource) fail(Code::FailedPrecondition, "[", c.node().op, "] this session has no communicator");
      buckets_ = c.resources().find_or_create<ExactBuckets>(
          "", "exact buckets", [&] { return std::make_shared<ExactBuckets>(resource); });
      bucket_ = buckets_->bucket<T>(c.node());
      version_ = version;
    }
    return *bucket_;
  }
  Communicator& communicator() { return buckets_->communicator(); }

 private:
  std::shared_ptr<ExactBuckets> buckets_;
  std::shared_ptr<ExactBucket> bucket_;
  uint64_t version_ = 0;
};

// The gradients of tensor k, one for each of this rank's shards.
template <class T>
std::vector<const T*> shards_of(Context& c, const ExactBucket& b, size_t k) {
  const size_t own = static_cast<size_t>(c.num_inputs()) / b.elements.size();
  std::vector<const T*> shards(own);
  for (size_t s = 0; s < own; ++s) {
    const Tensor& x = c.input(static_cast<int>(k * own + s));
    check(x.num_elements() == b.elements[k], "[", c.node().op, "] a gradient has ", x.num_elements(), " elements, ",
          b.elements[k], " were planned");
    shards[s] = x.data<T>();
  }
  return shards;
}

template <class T>
Kernel exact_maxima(const Node& node) {
  const std::vector<int64_t> rows = node.list<int64_t>("rows");
  const bool overlap = node.attr<bool>("overlap", true);
  return [rows, overlap, bucket = BucketOf<T>()](Context& c) mutable {
    ExactBucket& b = bucket.get(c);
    check(!b.elements.empty() && static_cast<size_t>(c.num_inputs()) % b.elements.size() == 0, "[_ExactMaxima] ",
          c.num_inputs(), " inputs are not a number of shards for each of ", b.elements.size(), " tensors");
    if (b.ticket != 0) bucket.communicator().wait(std::exchange(b.ticket, 0));  // of a run that ended with an error
    int32_t* words = static_cast<int32_t*>(b.maxima->input());
    std::memset(words, 0, ExactBuckets::words(b) * sizeof *words);
    for (size_t i = 0; i < rows.size(); ++i) {
      words[2 * i] = static_cast<int32_t>(rows[i]);
      words[2 * i + 1] = -static_cast<int32_t>(rows[i]);
    }
    for (size_t k = 0; k < b.elements.size(); ++k)
      for (const T* x : shards_of<T>(c, b, k)) {
        int32_t* exponents = b.own_exponents() + b.first_block[k];
        exact::raise_maxima(x, b.elements[k], exponents, exponents + b.blocks);
      }
    b.ticket = bucket.communicator().start(b.maxima, static_cast<int64_t>(ExactBuckets::words(b)), DType::Int32,
                                           Reduction::Max, overlap);
  };
}

void check_rows(const ExactBucket& b, const std::vector<int64_t>& rows, const Communicator& communicator) {
  const int32_t* words = static_cast<const int32_t*>(b.maxima->result());
  for (size_t i = 0; i < rows.size(); ++i)
    check(words[2 * i] == -words[2 * i + 1], "[distribute] rank ", communicator.rank(), "/", communicator.size(),
          ": the ranks must feed shards of one size: this one feeds ", rows[i], " rows a shard, others between ",
          -words[2 * i + 1], " and ", words[2 * i],
          ". Fix: feed the rows that shard_rows(global_batch, shards) says, of one global batch.");
}

// The blocks that hold an Inf or NaN on any rank, and the sums of their codes: rare, so it blocks.
template <class T>
void sum_codes(Context& c, ExactBucket& b, Communicator& communicator) {
  b.odd.clear();
  for (size_t k = 0; k < b.elements.size(); ++k)
    for (int64_t i = 0; i < exact::blocks_of(b.elements[k]); ++i)
      if (b.exponents()[b.blocks + b.first_block[k] + i] != 0) b.odd.emplace_back(k, i);
  if (b.odd.empty()) return;
  b.codes.assign(b.odd.size() * kBlock, 0);
  for (size_t i = 0; i < b.odd.size(); ++i) {
    const auto [k, block] = b.odd[i];
    std::vector<const T*> shards = shards_of<T>(c, b, k);
    for (const T*& x : shards) x += block * kBlock;
    exact::classify(shards.data(), static_cast<int>(shards.size()), b.size_of_block(k, block), &b.codes[i * kBlock]);
  }
  communicator.allreduce(b.codes.data(), static_cast<int64_t>(b.codes.size()), DType::Int32, Reduction::Sum);
}

template <class T>
Kernel exact_sum(const Node& node) {
  using Int = typename exact::Fixed<T>::type;
  const std::vector<int64_t> rows = node.list<int64_t>("rows");
  const bool overlap = node.attr<bool>("overlap", true);
  return [rows, overlap, bucket = BucketOf<T>()](Context& c) mutable {
    ExactBucket& b = bucket.get(c);
    Communicator& communicator = bucket.communicator();
    communicator.wait(std::exchange(b.ticket, 0));
    check_rows(b, rows, communicator);
    Int* sums = static_cast<Int*>(b.sums->input());
    for (size_t k = 0; k < b.elements.size(); ++k) {
      const std::vector<const T*> shards = shards_of<T>(c, b, k);
      exact::add(shards.data(), static_cast<int>(shards.size()), b.elements[k], b.exponents() + b.first_block[k],
                 b.shards, sums + b.first[k]);
    }
    sum_codes<T>(c, b, communicator);
    b.ticket = communicator.start(b.sums, b.total, DTypeOf<Int>::value, Reduction::Sum, overlap);
  };
}

template <class T>
Kernel exact_mean(const Node& node) {
  std::vector<Shape> shapes;
  for (const PartialShape& s : node.list<PartialShape>("shapes")) {
    check(s.fully_known(), "[_ExactMean] node '", node.name, "' needs known shapes");
    shapes.push_back(s.shape());
  }
  return [shapes, bucket = BucketOf<T>()](Context& c) mutable {
    ExactBucket& b = bucket.get(c);
    check(shapes.size() == b.elements.size(), "[_ExactMean] ", shapes.size(), " shapes, but attr 'elements' has ",
          b.elements.size());
    bucket.communicator().wait(std::exchange(b.ticket, 0));
    const auto* sums = static_cast<const typename exact::Fixed<T>::type*>(b.sums->result());
    std::vector<T*> outputs;
    for (size_t k = 0; k < shapes.size(); ++k) {
      Tensor& y = c.output(static_cast<int>(k), shapes[k]);
      check(y.num_elements() == b.elements[k], "[_ExactMean] output ", k, " of shape ", shapes[k], " has not the ",
            b.elements[k], " elements of attr 'elements'");
      outputs.push_back(y.data<T>());
      exact::mean(sums + b.first[k], b.elements[k], b.exponents() + b.first_block[k], b.shards, outputs[k]);
    }
    for (size_t i = 0; i < b.odd.size(); ++i) {
      const auto [k, block] = b.odd[i];
      exact::mark(&b.codes[i * kBlock], b.size_of_block(k, block), outputs[k] + block * kBlock);
    }
  };
}

RF_KERNEL("_ExactMaxima", exact_maxima, float, double)
RF_KERNEL("_ExactSum", exact_sum, float, double)
RF_KERNEL("_ExactMean", exact_mean, float, double)

}  // namespace
}  // namespace rf
