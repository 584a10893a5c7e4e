// Kernels of the collective graph ops. Each is a thin call of the session's Communicator; the plan's order is the order
// of the collectives, the same on every rank.
//
//   _BucketReduce  starts the allreduce of a bucket and returns; copies only the inputs that are not pinned in it.
//                  Attr `overlap` (default true): false on the last bucket, whose wait follows at once
//                  Attr `wire` (default ""): the 16-bit dtype and rounding in which both convert (wire_dtype.h)
//   _BucketWait    waits for it; its outputs are the bucket's result, read in place (they must not be written)
//   CollectiveReduce, CollectiveBcast, CollectiveGather   block
#include "runtime/collective_ops.h"

#include <cstring>
#include <utility>

#include "base/tensor.h"
#include "kernels/kernel.h"

namespace rf {

std::shared_ptr<GradientBucket> CommunicatorResource::bucket(const Node& node) {
  const DType dtype = node.attr<DType>("T");
  std::vector<int64_t> elements = node.list<int64_t>("elements");
  const std::string wire = node.attr<std::string>("wire", "");
  const bool in_place = node.attr<bool>("in_place", false);
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<GradientBucket>& slot = buckets_[{node.attr<int64_t>("bucket"), dtype, wire, in_place, elements}];
  if (slot) return slot;
  auto made = std::make_shared<GradientBucket>();
  made->wire = wire_dtype_of(wire);
  const size_t item = size_of(made->wire ? made->wire.dtype : dtype);
  size_t end = 0;
  for (int64_t n : elements) {
    check(n >= 0 && n <= (int64_t{1} << 40), "[", node.op, "] attr 'elements' of node '", node.name, "' has ", n);
    made->offsets.push_back(end);
    end += round_up(static_cast<size_t>(n) * item);
  }
  made->elements = std::move(elements);
  made->total = static_cast<int64_t>(end / item);
  made->memory = communicator_->bucket(end, in_place);
  if (made->wire) {
    made->memory->keep_narrow();
    made->residual.resize(static_cast<size_t>(made->total));
  }
  slot = std::move(made);
  return slot;
}

Pinned CommunicatorResource::inputs(const Node& reduce) {
  Pinned pinned;
  const auto b = bucket(reduce);
  if (b->wire) return pinned;  // what is written there is not what travels
  for (size_t offset : b->offsets) pinned.addresses.push_back(static_cast<char*>(b->memory->input()) + offset);
  pinned.keep_alive = b;
  return pinned;
}

Pinned CommunicatorResource::outputs(const Node& wait) {
  Pinned pinned;
  const auto b = bucket(wait);
  if (b->wire) return pinned;  // what is written there is not what travels
  char* result = const_cast<char*>(static_cast<const char*>(b->memory->result()));
  for (size_t offset : b->offsets) pinned.addresses.push_back(result + offset);
  pinned.keep_alive = b;
  return pinned;
}

void set_communicator(Resources& resources, std::shared_ptr<Communicator> communicator) {
  const auto made = std::make_shared<CommunicatorResource>(std::move(communicator));
  const auto found = resources.find_or_create<CommunicatorResource>(kCommunicatorContainer, "communicator", [&] { return made; });
  check(&found->communicator() == &made->communicator(),
        "[communicator] these resources have another communicator already. Fix: one session for each communicator.");
}

namespace {

CommunicatorResource& resource_of(Context& c) {
  auto* resource = dynamic_cast<CommunicatorResource*>(c.resources().find(kCommunicatorContainer, "communicator").get());
  if (!resource)
    fail(Code::FailedPrecondition, "[", c.node().op,
         "] this session has no communicator. Fix: give its resources one with set_communicator.");
  return *resource;
}

// Finds the node's bucket at its first step; afterwards the kernel holds it as long as the resources stay the same.
class BucketOfNode {
 public:
  GradientBucket& get(Context& c) {
    const uint64_t version = c.resources().version();
    if (!bucket_ || version_ != version) {
      resource_ = std::dynamic_pointer_cast<CommunicatorResource>(c.resources().find(kCommunicatorContainer, "communicator"));
      bucket_ = resource_of(c).bucket(c.node());
      version_ = version;
    }
    return *bucket_;
  }
  Communicator& communicator() { return resource_->communicator(); }

 private:
  std::shared_ptr<CommunicatorResource> resource_;
  std::shared_ptr<GradientBucket> bucket_;
  uint64_t version_ = 0;
};

template <class T>
Kernel bucket_reduce(const Node& node) {
  const Reduction reduction = reduction_of(node.attr<std::string>("op"));
  const bool overlap = node.attr<bool>("overlap", true);
  return [reduction, overlap, bucket = BucketOfNode()](Context& c) mutable {
    GradientBucket& b = bucket.get(c);
    check(static_cast<size_t>(c.num_inputs()) == b.elements.size(), "[_BucketReduce] ", c.num_inputs(),
          " inputs, but attr 'elements' has ", b.elements.size());
    for (int i = 0; i < c.num_inputs(); ++i) {
      const Tensor& x = c.input(i);
      const size_t k = static_cast<size_t>(i);
      check(x.num_elements() == b.elements[k], "[_BucketReduce] input ", i, " has ", x.num_elements(), " elements, ",
            b.elements[k], " were planned");
      char* place = static_cast<char*>(b.memory->input()) + b.offsets[k];
      if (b.wire)
        compress(b.wire, x.dtype(), x.raw(), reduction == Reduction::Mean ? 1.0 / bucket.communicator().size() : 1.0,
                 x.num_elements(), b.residual.data() + b.offsets[k] / size_of(b.wire.dtype), place);
      else if (x.raw() != place && x.bytes() > 0)
        std::memcpy(place, x.raw(), x.bytes());
    }
    b.ticket = bucket.communicator().start(b.memory, b.total, b.wire ? b.wire.dtype : DTypeOf<T>::value,
                                           b.wire ? Reduction::Sum : reduction, overlap);
  };
}

template <class T>
Kernel bucket_wait(const Node& node) {
  std::vector<Shape> shapes;
  for (const PartialShape& s : node.list<PartialShape>(node.has("shapes") ? "shapes" : "_output_shapes")) {
    check(s.fully_known(), "[_BucketWait] node '", node.name,
          "' needs known shapes: a gradient has its variable's shape");
    shapes.push_back(s.shape());
  }
  return [shapes, bucket = BucketOfNode()](Context& c) mutable {
    GradientBucket& b = bucket.get(c);
    check(shapes.size() == b.elements.size(), "[_BucketWait] ", shapes.size(), " shapes, but attr 'elements' has ",
          b.elements.size());
    bucket.communicator().wait(std::exchange(b.ticket, 0));
    for (size_t k = 0; k < shapes.size(); ++k) {
      Tensor& y = c.output(static_cast<int>(k), shapes[k]);
      check(y.num_elements() == b.elements[k], "[_BucketWait] output ", k, " of shape ", shapes[k], " has not the ",
            b.elements[k], " elements of attr 'elements'");
      const char* place = static_cast<const char*>(b.memory->result()) + b.offsets[k];
      if (b.wire)
        expand(b.wire, y.dtype(), place, y.num_elements(), y.raw());
      else if (y.raw() != place && y.bytes() > 0)
        std::memcpy(y.raw(), place, y.bytes());
    }
  };
}

// TensorFlow's attrs: merge_op "Add", "Mul", "Min" or "Max", final_op "Id" or "Div" (by the group's size).
Reduction reduction_of_attrs(const Node& node) {
  const std::string& merge = node.attr<std::string>("merge_op");
  const std::string& final = node.attr<std::string>("final_op");
  const bool divide = final == "Div";
  check(divide || final == "Id", "[CollectiveReduce] attr 'final_op' must be Id or Div, got '", final, "'");
  check(!divide || merge == "Add", "[CollectiveReduce] final_op Div needs merge_op Add, got '", merge, "'");
  if (merge == "Add") return divide ? Reduction::Mean : Reduction::Sum;
  if (merge == "Mul") return Reduction::Prod;
  if (merge == "Min") return Reduction::Min;
  if (merge == "Max") return Reduction::Max;
  fail(Code::InvalidArgument, "[CollectiveReduce] attr 'merge_op' must be Add, Mul, Min or Max, got '", merge, "'");
}

template <class T>
Kernel collective_reduce(const Node& node) {
  const Reduction reduction = reduction_of_attrs(node);
  const int64_t group_size = node.attr<int64_t>("group_size", 0);
  return [reduction, group_size](Context& c) {
    Communicator& communicator = resource_of(c).communicator();
    check(group_size <= 0 || group_size == communicator.size(), "[CollectiveReduce] attr 'group_size' is ", group_size,
          ", but there are ", communicator.size(), " ranks");
    const Tensor& x = c.input(0);
    Tensor& y = c.output(0, x.shape());
    if (y.raw() != x.raw() && x.bytes() > 0) std::memcpy(y.raw(), x.raw(), x.bytes());
    communicator.allreduce(y.raw(), y.num_elements(), y.dtype(), reduction);
  };
}

// output = root's input. Every rank passes a tensor of the same shape.
Kernel collective_bcast(const Node& node) {
  const int root = static_cast<int>(node.attr<int64_t>("root", 0));
  return [root](Context& c) {
    const Tensor& x = c.input(0);
    Tensor& y = c.output(0, x.shape());
    if (y.raw() != x.raw() && x.bytes() > 0) std::memcpy(y.raw(), x.raw(), x.bytes());
    resource_of(c).communicator().broadcast(y.raw(), y.bytes(), root);
  };
}

// The ranks' inputs, concatenated along dimension 0, whose size may differ by rank.
Kernel collective_gather(const Node&) {
  return [](Context& c) {
    Communicator& communicator = resource_of(c).communicator();
    const Tensor& x = c.input(0);
    check(x.rank() >= 1, "[CollectiveGather] the input must have a dimension to gather along, got a scalar");
    std::vector<int64_t> rows(static_cast<size_t>(communicator.size()));
    const int64_t mine = x.dim(0);
    communicator.allgather(&mine, rows.data(), sizeof mine);
    const size_t row_bytes = static_cast<size_t>(x.shape().product(1, x.rank())) * size_of(x.dtype());
    Shape shape = x.shape();
    std::vector<size_t> bytes;
    int64_t total = 0;
    for (int64_t n : rows) {
      bytes.push_back(static_cast<size_t>(n) * row_bytes);
      total += n;
    }
    shape.set(0, total);
    Tensor& y = c.output(0, shape);
    communicator.allgatherv(x.raw(), y.raw(), bytes);
  };
}

// The variable moves to memory that all ranks share, with rank 0's value.
Kernel share_variable(const Node& node) {
  const bool stays = node.attr<bool>("stays", false);
  return [stays](Context& c) {
    Communicator& communicator = resource_of(c).communicator();
    Variable& v = c.variable(0);
    if (stays) return c.set_ref_output(0, v);
    const Tensor& value = c.mutable_input(0);
    const std::shared_ptr<Segment> memory = communicator.common(value.bytes());
    if (!memory)
      fail(Code::FailedPrecondition, "[_ShareVariable] the ranks share no memory of ", value.bytes(),
           " bytes. Fix: RINGFLOW_SHARED_VARIABLES=0, or a larger /dev/shm.");
    void* const place = memory->window(0);
    if (communicator.rank() == 0) std::memcpy(place, value.raw(), value.bytes());
    communicator.barrier();
    v.value = Tensor(value.dtype(), value.shape(), Buffer::wrap(place, value.bytes(), [memory] {}));
    c.set_ref_output(0, v);
  };
}

Kernel ranks_meet(const Node&) {
  return [](Context& c) { resource_of(c).communicator().barrier(); };
}

RF_KERNEL_ANY("_ShareVariable", None, share_variable)
RF_KERNEL_ANY("_RanksMeet", None, ranks_meet)
RF_KERNEL("_BucketReduce", bucket_reduce, float, double, Half, BFloat16)
RF_KERNEL("_BucketWait", bucket_wait, float, double, Half, BFloat16)
RF_KERNEL_IN_PLACE("CollectiveReduce", collective_reduce, float, double, int32_t, int64_t, Half, BFloat16)
RF_KERNEL_ANY("CollectiveBcast", InPlace, collective_bcast)
RF_KERNEL_ANY("CollectiveGather", None, collective_gather)

}  // namespace
}  // namespace rf
