// Barrier and its ops: elements whose components come one by one, under a key, and that can be taken once they are whole.
//
// Elements are taken in the order in which their keys first came. After closing no new key is taken; elements that have
// begun can be completed, unless pending insertions were cancelled. An insertion that fails changes nothing.
// Source: TensorFlow's barrier_ops.cc.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/queue.h"
#include "kernels/state.h"

namespace rf {
namespace {

class Barrier : public Waiting {
 public:
  explicit Barrier(const QueueSpec& spec)
      : Waiting(1), elements_(std::make_shared<Queue>(spec, std::make_unique<FifoStorage>())) {}

  const QueueSpec& spec() const { return elements_->spec(); }

  void insert(const Tensor& keys, const std::vector<Tensor>& values, size_t component) {
    change([&](auto&) {
      const std::string* key = keys.data<std::string>();
      std::map<std::string, int> given;
      for (int64_t k = 0; k < keys.num_elements(); ++k) check_insertion(key[k], component, given[key[k]]++ > 0);
      for (int64_t k = 0; k < keys.num_elements(); ++k) put(key[k], component, values[static_cast<size_t>(k)]);
    });
  }
  void take(int64_t count, bool small, bool whole, int64_t timeout_ms, Context& c, Done done);
  void close(bool cancel) {
    change([&](auto&) {
      if (closed_ && !cancel) fail(Code::Cancelled, "Barrier '", spec().name, "' is already closed.");
      closed_ = true;
      if (cancel) begun_.clear();
    });
  }
  int32_t ready() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int32_t>(ready_.size());
  }
  int32_t incomplete() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int32_t>(begun_.size());
  }

 private:
  struct Take;
  struct Begun {
    int64_t index;
    Element element;
    size_t missing;
  };
  struct Ready {
    std::string key;
    Element element;
  };

  void check_insertion(const std::string& key, size_t component, bool again) const {
    const auto it = begun_.find(key);
    if (closed_ && it == begun_.end())
      fail(Code::Cancelled, "Barrier '", spec().name, "' is closed, but attempted to insert a brand new key: ", key,
           ". Number of incomplete keys: ", begun_.size(), ".");
    check(!again && (it == begun_.end() || !it->second.element.components[component].initialized()), "[BarrierInsertMany] ",
          "Key ", key, " already has a value for component ", component, " in barrier '", spec().name, "'");
  }

  void put(const std::string& key, size_t component, const Tensor& value) {
    auto it = begun_.find(key);
    if (it == begun_.end()) {
      const size_t n = spec().dtypes.size();
      it = begun_.emplace(key, Begun{next_++, {std::vector<Tensor>(n)}, n}).first;
    }
    Begun& begun = it->second;
    begun.element.components[component] = value;
    if (--begun.missing > 0) return;
    ready_.emplace(begun.index, Ready{key, std::move(begun.element)});
    begun_.erase(it);
  }

  const std::shared_ptr<Queue> elements_;  // holds none: it knows how they are stacked
  // under mutex_
  std::map<std::string, Begun> begun_;
  std::map<int64_t, Ready> ready_;
  int64_t next_ = std::numeric_limits<int64_t>::min();  // as TensorFlow counts
  bool closed_ = false;
};

struct Barrier::Take : Attempt {
  Take(Barrier& barrier, int64_t count, bool small, bool whole, Context& c)
      : barrier(barrier), count(count), small(small), whole(whole), context(c) {}

  Step step() override {
    const int64_t ready = static_cast<int64_t>(barrier.ready_.size()), begun = static_cast<int64_t>(barrier.begun_.size());
    int64_t now = ready >= count ? count : 0;
    if (now == 0 && barrier.closed_) {
      if (small ? ready + begun == 0 : ready + begun < count)
        fail(Code::OutOfRange, "Barrier '", barrier.spec().name, "' is closed and has insufficient elements (requested ",
             count, ", total size ", ready + begun, ")");
      if (small && (begun == 0 || !whole)) now = ready;
    }
    if (now == 0) return Step::Waits;
    for (auto it = barrier.ready_.begin(); now > 0; --now, it = barrier.ready_.erase(it)) {
      indices.push_back(it->first);
      keys.push_back(std::move(it->second.key));
      elements.push_back(std::move(it->second.element));
    }
    return Step::Done;
  }

  void finish() override {
    const int64_t n = static_cast<int64_t>(elements.size());
    std::copy(indices.begin(), indices.end(), context.output(0, {n}).data<int64_t>());
    std::move(keys.begin(), keys.end(), context.output(1, {n}).data<std::string>());
    barrier.elements_->stack(elements, [this](size_t i, const Shape& shape) -> Tensor& {
      return context.output(static_cast<int>(i) + 2, shape);
    });
  }

  Barrier& barrier;
  const int64_t count;
  const bool small, whole;
  Context& context;
  std::vector<int64_t> indices;
  std::vector<std::string> keys;
  std::vector<Element> elements;
};

void Barrier::take(int64_t count, bool small, bool whole, int64_t timeout_ms, Context& c, Done done) {
  const auto attempt = std::make_shared<Take>(*this, count, small, whole, c);
  if (count == 0) {
    if (succeeds(done, [&] { attempt->finish(); })) done(nullptr);
    return;
  }
  start(0, attempt, {c.run().cancellation, timeout_ms, "TakeMany operation"}, std::move(done));
}

Kernel barrier(const Node& node) {
  QueueSpec spec;
  spec.kind = "Barrier";
  spec.name = node.attr<std::string>("shared_name", "");
  if (spec.name.empty()) spec.name = node.name;
  spec.dtypes = node.list<DType>("component_types");
  spec.shapes = node.list<PartialShape>("shapes");
  check(node.attr<int64_t>("capacity", -1) == -1, "[Barrier] Barrier only accepts capacity=-1. Fix: feed it through a queue");
  bool known = !spec.dtypes.empty() && spec.shapes.size() == spec.dtypes.size();
  for (const PartialShape& s : spec.shapes) known = known && s.fully_known();
  check(known, "[Barrier] All of the component shapes must be specified");
  return [spec, container = node.attr<std::string>("container", ""), found = Cached<Barrier>()](Context& c) mutable {
    Barrier& barrier = found.get(c.resources(), [&] {
      return c.resources().find_or_create<Barrier>(container, spec.name, [&] { return std::make_shared<Barrier>(spec); });
    });
    check(barrier.spec().dtypes == spec.dtypes && barrier.spec().shapes == spec.shapes, "[Barrier] shared barrier '",
          spec.name, "' has other components than those requested");
    c.set_resource_output(0, barrier.shared_from_this());
  };
}

Kernel insert_many(const Node& node) {
  return [component = node.attr<int64_t>("component_index")](Context& c) {
    Barrier& barrier = *c.resource<Barrier>(0);
    const Tensor &keys = c.input(1), &values = c.input(2);
    const QueueSpec& spec = barrier.spec();
    check(component >= 0 && component < static_cast<int64_t>(spec.dtypes.size()),
          "[BarrierInsertMany] The component ID is out of range ", component, " > num_components (= ", spec.dtypes.size(), ")");
    const size_t i = static_cast<size_t>(component);
    check(keys.rank() == 1 && values.rank() >= 1 && values.dim(0) == keys.dim(0), "[BarrierInsertMany] keys must be a ",
          "vector, and values one row for each: got shapes ", keys.shape(), " and ", values.shape());
    check(values.dtype() == spec.dtypes[i] && fits(spec.shapes[i], values.shape(), 1), "[BarrierInsertMany] Shape mismatch: ",
          "component ", i, " of barrier '", spec.name, "' is ", name_of(spec.dtypes[i]), " ", text_of(spec.shapes[i]),
          ": got rows of ", name_of(values.dtype()), " ", values.shape());
    barrier.insert(keys, rows_of(values), i);
  };
}

AsyncKernel take_many(const Node& node) {
  return [small = node.attr<bool>("allow_small_batch", false), whole = node.attr<bool>("wait_for_incomplete", false),
          timeout_ms = node.attr<int64_t>("timeout_ms", -1)](Context& c, Done done) {
    std::shared_ptr<Barrier> barrier;
    int64_t count = 0;
    const bool fit = succeeds(done, [&] {
      barrier = c.resource<Barrier>(0);
      count = c.input(1).scalar<int32_t>();
      check(count >= 0, "[BarrierTakeMany] num_elements must be >= 0: got ", count);
      std::vector<DType> wanted;
      for (int i = 2; i < c.num_outputs(); ++i) wanted.push_back(c.output_dtype(i));
      check(wanted == barrier->spec().dtypes, "[BarrierTakeMany] component types differ from those of the barrier");
    });
    if (fit) barrier->take(count, small, whole, timeout_ms, c, std::move(done));
  };
}

Kernel close_barrier(const Node& node) {
  return [cancel = node.attr<bool>("cancel_pending_enqueues", false)](Context& c) { c.resource<Barrier>(0)->close(cancel); };
}

Kernel ready_size(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<int32_t>() = c.resource<Barrier>(0)->ready(); };
}

Kernel incomplete_size(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<int32_t>() = c.resource<Barrier>(0)->incomplete(); };
}

RF_KERNEL_ANY("Barrier", None, barrier)
RF_KERNEL_ANY("BarrierInsertMany", None, insert_many)
RF_KERNEL_ASYNC("BarrierTakeMany", take_many)
RF_KERNEL_ANY("BarrierClose", None, close_barrier)
RF_KERNEL_ANY("BarrierReadySize", None, ready_size)
RF_KERNEL_ANY("BarrierIncompleteSize", None, incomplete_size)

}  // namespace
}  // namespace rf
