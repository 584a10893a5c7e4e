// The ops on queues. A queue lives in its container under shared_name, or else the node's name, until the container is
// reset; handles keep it alive beyond.
//
// Ownership of elements: what is enqueued must outlive the run, so Context::keep copies what the run only borrows (feeds,
// planned memory, variables) and shares the rest. A single element leaves the queue without a copy.
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/queue.h"
#include "kernels/state.h"

namespace rf {
namespace {

// ---- queues

QueueSpec spec_of(const Node& node, const char* kind, bool has_priority) {
  QueueSpec spec;
  spec.kind = kind;
  spec.name = node.attr<std::string>("shared_name", "");
  if (spec.name.empty()) spec.name = node.name;
  spec.dtypes = node.list<DType>("component_types");
  spec.shapes = node.list<PartialShape>("shapes");
  spec.capacity = node.attr<int64_t>("capacity", -1);
  check(spec.shapes.empty() || spec.shapes.size() == spec.dtypes.size(), "[", node.op, "] 'shapes' must be empty or one ",
        "for each of the ", spec.dtypes.size(), " components: got ", spec.shapes.size());
  if (has_priority) {
    spec.dtypes.insert(spec.dtypes.begin(), DType::Int64);
    if (spec.shapes.empty()) spec.shapes.assign(spec.dtypes.size() - 1, PartialShape{true, {}});
    spec.shapes.insert(spec.shapes.begin(), PartialShape{});
  }
  check(!spec.dtypes.empty(), "[", node.op, "] elements must have a component: 'component_types' is empty");
  for (DType d : spec.dtypes)
    check(size_of(d) != 0 || d == DType::String, "[", node.op, "] components must be values: got ", name_of(d));
  return spec;
}

std::string list(const std::vector<DType>& dtypes) {
  std::string s;
  for (DType d : dtypes) s += (s.empty() ? "" : ", ") + std::string(name_of(d));
  return s;
}

// Nodes that share a queue must agree on what it is.
void check_same(const QueueSpec& there, const QueueSpec& wanted) {
  const std::string where = text("[", wanted.kind, "] shared queue '", wanted.name, "' ");
  check(there.kind == wanted.kind, where, "is a ", there.kind, ": a ", wanted.kind, " is requested");
  check(there.capacity == wanted.capacity, where, "has capacity ", there.capacity, " but requested capacity was ",
        wanted.capacity);
  check(there.dtypes == wanted.dtypes, where, "has component types ", list(there.dtypes), " but requested component types ",
        "were ", list(wanted.dtypes));
  check(there.shapes == wanted.shapes, where, "has other component shapes than those requested");
}

template <class MakeStorage>
Kernel queue_kernel(const Node& node, QueueSpec spec, MakeStorage make_storage) {
  const std::string container = node.attr<std::string>("container", "");
  return [container, spec = std::move(spec), make_storage, found = Cached<Queue>()](Context& c) mutable {
    Queue& queue = found.get(c.resources(), [&] {
      auto queue = c.resources().find_or_create<Queue>(
          container, spec.name, [&] { return std::make_shared<Queue>(spec, make_storage()); });
      check_same(queue->spec(), spec);
      return queue;
    });
    c.set_resource_output(0, queue.shared_from_this());
  };
}

Kernel fifo_queue(const Node& node) {
  return queue_kernel(node, spec_of(node, "FIFOQueue", false), [] { return std::make_unique<FifoStorage>(); });
}

Kernel padding_fifo_queue(const Node& node) {
  QueueSpec spec = spec_of(node, "PaddingFIFOQueue", false);
  check(spec.shapes.size() == spec.dtypes.size(), "[", node.op, "] 'shapes' must have one for each component");
  for (const PartialShape& s : spec.shapes)
    check(!s.unknown_rank, "[", node.op, "] the rank of every component must be known. Fix: give shapes with None for the ",
          "dimensions that vary");
  spec.pads = true;
  return queue_kernel(node, std::move(spec), [] { return std::make_unique<FifoStorage>(); });
}

Kernel priority_queue(const Node& node) {
  return queue_kernel(node, spec_of(node, "PriorityQueue", true), [] { return std::make_unique<PriorityStorage>(); });
}

Kernel random_shuffle_queue(const Node& node) {
  QueueSpec spec = spec_of(node, "RandomShuffleQueue", false);
  const int64_t least = node.attr<int64_t>("min_after_dequeue", 0);
  check(least >= 0 && (spec.capacity < 0 || least < spec.capacity), "[", node.op,
        "] min_after_dequeue must lie in [0, capacity): it is ", least, ", the capacity ", spec.capacity);
  uint64_t seed = static_cast<uint64_t>(node.attr<int64_t>("seed", 0));
  uint64_t seed2 = static_cast<uint64_t>(node.attr<int64_t>("seed2", 0));
  return queue_kernel(node, std::move(spec), [least, seed, seed2] {
    if (seed || seed2) return std::make_unique<ShuffleStorage>(least, seed, seed2);
    std::random_device entropy;
    const auto word = [&] { return uint64_t{entropy()} << 32 | entropy(); };
    const uint64_t a = word(), b = word();
    return std::make_unique<ShuffleStorage>(least, a, b);
  });
}

// ---- enqueuing and dequeuing

Waiting::Patience patience(Context& c, int64_t timeout_ms, const char* what) {
  return {c.run().cancellation, timeout_ms, what};
}

template <bool kMany>
AsyncKernel enqueue(const Node& node) {
  return [timeout_ms = node.attr<int64_t>("timeout_ms", -1)](Context& c, Done done) {
    std::shared_ptr<Queue> queue;
    std::vector<Element> elements;
    const bool fit = succeeds(done, [&] {
      queue = c.resource<Queue>(0);
      std::vector<Tensor> components;
      for (int i = 1; i < c.num_inputs(); ++i) components.push_back(kMany ? c.input(i) : c.keep(i));
      if (kMany)
        elements = queue->elements_of(components);
      else
        elements.push_back(queue->element_of(std::move(components)));
    });
    if (fit) queue->enqueue(std::move(elements), patience(c, timeout_ms, "Enqueue operation"), std::move(done));
  };
}

// The queue behind input 0. InvalidArgument where its elements are not what the node says.
Queue& source(const Context& c) {
  Queue& queue = *c.resource<Queue>(0);  // the handle keeps it alive until the kernel is done
  std::vector<DType> wanted;
  for (int i = 0; i < c.num_outputs(); ++i) wanted.push_back(c.output_dtype(i));
  check(wanted == queue.spec().dtypes, "[", c.node().op, "] component types differ: the queue has ",
        list(queue.spec().dtypes), ", the op ", list(wanted));
  return queue;
}

AsyncKernel dequeue(const Node& node) {
  return [timeout_ms = node.attr<int64_t>("timeout_ms", -1)](Context& c, Done done) {
    Queue* queue = nullptr;
    if (!succeeds(done, [&] { queue = &source(c); })) return;
    const auto take = [&c](std::vector<Element> elements) {
      for (int i = 0; i < c.num_outputs(); ++i) c.set_output(i, elements[0].components[static_cast<size_t>(i)]);
    };
    queue->dequeue(1, false, patience(c, timeout_ms, "Dequeue operation"), take, std::move(done));
  };
}

int64_t batch_size(const Context& c, const QueueSpec& spec) {
  const int64_t n = c.input(1).scalar<int32_t>();
  check(n >= 0, "[", c.node().op, "] n must be >= 0: got ", n);
  bool known = !spec.shapes.empty();
  for (const PartialShape& s : spec.shapes) known = known && (s.fully_known() || spec.pads);
  check(known, "[", c.node().op, "] ", spec.kind, "'s DequeueMany and DequeueUpTo require the components to have ",
        "specified shapes: those of '", spec.name, "' are not. Fix: give the queue its shapes");
  return n;
}

template <bool kUpTo>
AsyncKernel dequeue_many(const Node& node) {
  return [timeout_ms = node.attr<int64_t>("timeout_ms", -1)](Context& c, Done done) {
    Queue* queue = nullptr;
    int64_t n = 0;
    if (!succeeds(done, [&] {
          queue = &source(c);
          n = batch_size(c, queue->spec());
        }))
      return;
    const auto take = [&c, queue](std::vector<Element> elements) {
      queue->stack(elements, [&c](size_t i, const Shape& shape) -> Tensor& { return c.output(static_cast<int>(i), shape); });
    };
    queue->dequeue(n, kUpTo, patience(c, timeout_ms, "Dequeue operation"), take, std::move(done));
  };
}

// ---- the rest

AsyncKernel close(const Node& node) {
  return [cancel = node.attr<bool>("cancel_pending_enqueues", false)](Context& c, Done done) {
    std::shared_ptr<Queue> queue;
    if (!succeeds(done, [&] { queue = c.resource<Queue>(0); })) return;
    if (!cancel) return queue->close(patience(c, -1, "Close operation"), std::move(done));
    queue->close_and_cancel();
    done(nullptr);
  };
}

Kernel size(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<int32_t>() = static_cast<int32_t>(c.resource<Queue>(0)->size()); };
}

Kernel is_closed(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<bool>() = c.resource<Queue>(0)->closed(); };
}

Kernel select_handle(const Node&) {
  return [](Context& c) {
    const int64_t i = c.input(0).scalar<int32_t>();
    check(i >= 0 && i < c.num_inputs() - 1, "[_SelectHandle] index ", i, " is not in [0, ", c.num_inputs() - 1, ")");
    c.set_resource_output(0, c.resource<Resource>(static_cast<int>(i) + 1));
  };
}

RF_KERNEL_ANY("FIFOQueueV2", None, fifo_queue)
RF_KERNEL_ANY("PaddingFIFOQueueV2", None, padding_fifo_queue)
RF_KERNEL_ANY("PriorityQueueV2", None, priority_queue)
RF_KERNEL_ANY("RandomShuffleQueueV2", None, random_shuffle_queue)
RF_KERNEL_ASYNC("QueueEnqueueV2", enqueue<false>)
RF_KERNEL_ASYNC("QueueEnqueueManyV2", enqueue<true>)
RF_KERNEL_ASYNC("QueueDequeueV2", dequeue)
RF_KERNEL_ASYNC("QueueDequeueManyV2", dequeue_many<false>)
RF_KERNEL_ASYNC("QueueDequeueUpToV2", dequeue_many<true>)
RF_KERNEL_ASYNC("QueueCloseV2", close)
RF_KERNEL_ANY("QueueSizeV2", None, size)
RF_KERNEL_ANY("QueueIsClosedV2", None, is_closed)
RF_KERNEL_ANY("_SelectHandle", None, select_handle)

}  // namespace
}  // namespace rf
