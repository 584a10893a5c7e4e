#include "kernels/queue_storage.h"

namespace rf {

Element FifoStorage::pop() {
  Element element = std::move(elements_.front());
  elements_.pop_front();
  return element;
}

Element ShuffleStorage::pop() {
  uint32_t words[4];
  generator_.block(draws_++, words);
  // the upper half of a 32 x 64 bit product: uniform up to n / 2^32
  const size_t i = static_cast<size_t>((uint64_t{words[0]} * elements_.size()) >> 32);
  Element element = std::move(elements_[i]);
  if (i + 1 != elements_.size()) elements_[i] = std::move(elements_.back());
  elements_.pop_back();
  return element;
}

void PriorityStorage::push(Element element) {
  element.arrival = arrivals_++;
  put_back(std::move(element));
}

Element PriorityStorage::pop() {
  Element element = std::move(elements_.begin()->second);
  elements_.erase(elements_.begin());
  return element;
}

void PriorityStorage::put_back(Element element) {
  const Key key(element.components[0].scalar<int64_t>(), element.arrival);
  elements_.emplace(key, std::move(element));
}

}  // namespace rf
