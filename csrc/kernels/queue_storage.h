// Where a queue keeps its elements, and which one comes out next: the policy by which kinds of queues differ.
//
// No locks here: the queue has one.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/tensor.h"
#include "kernels/philox.h"

namespace rf {

// What is enqueued and dequeued as one: a tensor for each component.
struct Element {
  std::vector<Tensor> components;
  int64_t arrival = 0;  // set by the storage that needs it
};

class QueueStorage {
 public:
  virtual ~QueueStorage() = default;
  virtual void push(Element element) = 0;
  virtual Element pop() = 0;
  // Undoes a pop. Of several pops the last is undone first.
  virtual void put_back(Element element) = 0;
  virtual int64_t size() const = 0;
  // How many may be popped now.
  virtual int64_t ready(bool closed) const {
    (void)closed;
    return size();
  }
};

// First in, first out.
class FifoStorage : public QueueStorage {
 public:
  void push(Element element) override { elements_.push_back(std::move(element)); }
  Element pop() override;
  void put_back(Element element) override { elements_.push_front(std::move(element)); }
  int64_t size() const override { return static_cast<int64_t>(elements_.size()); }

 private:
  std::deque<Element> elements_;
};

// Any, uniformly; until the queue is closed, `min_after_dequeue` elements stay for good mixing.
class ShuffleStorage : public QueueStorage {
 public:
  ShuffleStorage(int64_t min_after_dequeue, uint64_t seed, uint64_t seed2)
      : min_after_dequeue_(min_after_dequeue), generator_(seed, seed2) {}
  void push(Element element) override { elements_.push_back(std::move(element)); }
  Element pop() override;
  void put_back(Element element) override { elements_.push_back(std::move(element)); }
  int64_t size() const override { return static_cast<int64_t>(elements_.size()); }
  int64_t ready(bool closed) const override { return closed ? size() : size() - min_after_dequeue_; }

 private:
  const int64_t min_after_dequeue_;
  const Philox generator_;
  uint64_t draws_ = 0;
  std::vector<Element> elements_;
};

// The one whose first component, an int64 scalar, is least; of equal ones the first that came.
class PriorityStorage : public QueueStorage {
 public:
  void push(Element element) override;
  Element pop() override;
  void put_back(Element element) override;
  int64_t size() const override { return static_cast<int64_t>(elements_.size()); }

 private:
  using Key = std::pair<int64_t, int64_t>;  // priority, arrival
  std::map<Key, Element> elements_;
  int64_t arrivals_ = 0;
};

}  // namespace rf
