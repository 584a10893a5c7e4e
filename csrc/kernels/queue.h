// A queue of elements, each a tuple of tensors: what FIFOQueueV2, RandomShuffleQueueV2, PaddingFIFOQueueV2 and
// PriorityQueueV2 make. Where elements lie and which comes next is the storage's affair (queue_storage.h), who waits and
// for what that of the lines (waiting.h); capacity, closing, shapes and batching are here.
//
// Who enqueues or closes waits in one line, who dequeues in another. Dequeuers of n elements take them as they come, so n
// may exceed the capacity; what they have taken goes back to its place when they are cancelled, late, or the queue is
// closed with too few. Enqueuers of n likewise give element by element; what is in the queue stays there.
// Source: TensorFlow's QueueBase, FIFOQueue and RandomShuffleQueue.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/node.h"
#include "kernels/queue_storage.h"
#include "kernels/waiting.h"

namespace rf {

// What the elements of a queue are, and how many it holds.
struct QueueSpec {
  std::string kind;  // for errors: "FIFOQueue"
  std::string name;
  std::vector<DType> dtypes;
  std::vector<PartialShape> shapes;  // of the components; empty where any will do
  int64_t capacity = -1;             // negative: no limit
  bool pads = false;                 // batches elements of different shapes by padding with zeros
};

// The rows of a tensor, each with memory of its own.
std::vector<Tensor> rows_of(const Tensor& tensor);

class Queue : public Waiting {
 public:
  Queue(QueueSpec spec, std::unique_ptr<QueueStorage> storage)
      : Waiting(2), spec_(std::move(spec)), storage_(std::move(storage)) {}

  const QueueSpec& spec() const { return spec_; }
  int64_t size() const;
  bool closed() const;

  // The components as elements, checked against the spec: one, or as many as their first dimension says. InvalidArgument.
  Element element_of(std::vector<Tensor> components) const;
  std::vector<Element> elements_of(const std::vector<Tensor>& components) const;
  // Elements as one tensor for each component, stacked along a new first dimension. `output` gives the memory.
  using Output = std::function<Tensor&(size_t component, const Shape& shape)>;
  void stack(const std::vector<Element>& elements, const Output& output) const;

  // Waits for room. Cancelled where the queue is closed.
  void enqueue(std::vector<Element> elements, Patience patience, Done done);
  // Waits for `count` elements and hands them to `take`, without any lock. OutOfRange where the queue is closed and has
  // fewer; with `up_to` only where it is closed and empty.
  using Take = std::function<void(std::vector<Element>)>;
  void dequeue(int64_t count, bool up_to, Patience patience, Take take, Done done);
  // After those who are enqueuing now, the queue is closed to others. Cancelled where it is closed already.
  void close(Patience patience, Done done);
  // Closes at once; those who are enqueuing are Cancelled.
  void close_and_cancel();

 private:
  struct Enqueue;
  struct Dequeue;
  struct Close;
  enum Line : size_t { kEnqueue, kDequeue };

  bool full() const { return spec_.capacity >= 0 && storage_->size() >= spec_.capacity; }
  [[noreturn]] void too_few(int64_t requested, int64_t size) const;
  void check_component(const Tensor& t, size_t i, int skipped) const;

  const QueueSpec spec_;
  std::unique_ptr<QueueStorage> storage_;  // under mutex_
  bool closed_ = false;                    // under mutex_
};

}  // namespace rf
