// How the graph's collective ops find their communicator, and the planner the memory of gradient buckets.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "collectives/communicator.h"
#include "kernels/resource.h"
#include "runtime/pinning.h"
#include "runtime/wire_dtype.h"

namespace rf {

// A bucket with its members' places: each begins on a 64-byte boundary, in the order of the attr `elements`.
struct GradientBucket {
  std::shared_ptr<Bucket> memory;
  std::vector<size_t> offsets;  // bytes
  std::vector<int64_t> elements;
  int64_t total = 0;            // elements, the gaps between members included; gaps are and stay zero
  WireDType wire;               // where set, offsets are those of 16-bit words
  std::vector<float> residual;  // of each word, from step to step
  Progress::Ticket ticket = 0;  // of the allreduce under way, between _BucketReduce and _BucketWait
};

// The resource "communicator" in kCommunicatorContainer. Buckets are made once for each layout, when a plan first names it: every
// rank plans graphs with new buckets in the same order.
class CommunicatorResource : public Resource, public Pinning {
 public:
  explicit CommunicatorResource(std::shared_ptr<Communicator> communicator) : communicator_(std::move(communicator)) {}

  Communicator& communicator() const { return *communicator_; }
  std::shared_ptr<GradientBucket> bucket(const Node& node);
  Pinned inputs(const Node& reduce) override;
  Pinned outputs(const Node& wait) override;

 private:
  using Layout = std::tuple<int64_t, DType, std::string, bool, std::vector<int64_t>>;  // attrs bucket, T, wire, in_place, elements
  const std::shared_ptr<Communicator> communicator_;
  std::mutex mutex_;
  std::map<Layout, std::shared_ptr<GradientBucket>> buckets_;
};

void set_communicator(Resources& resources, std::shared_ptr<Communicator> communicator);

}  // namespace rf
