#include "kernels/queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rf {
namespace {

Shape tail_of(const Shape& shape) { return Shape(shape.begin() + 1, shape.end()); }

void copy_elements(const Tensor& from, int64_t at, Tensor& to, int64_t to_at, int64_t count) {
  if (from.dtype() == DType::String) {
    std::copy_n(from.data<std::string>() + at, count, to.data<std::string>() + to_at);
    return;
  }
  const size_t size = size_of(from.dtype());
  if (count != 0)
    std::memcpy(static_cast<char*>(to.raw()) + static_cast<size_t>(to_at) * size,
                static_cast<const char*>(from.raw()) + static_cast<size_t>(at) * size, static_cast<size_t>(count) * size);
}

void clear_elements(Tensor& t) {
  if (t.dtype() == DType::String)
    std::fill_n(t.data<std::string>(), t.num_elements(), std::string());
  else if (t.bytes() != 0)
    std::memset(t.raw(), 0, t.bytes());
}

// `from` into block `index` of `to`, at the block's origin: its dimensions are at most the block's.
void place(const Tensor& from, Tensor& to, int64_t index) {
  const int64_t block = to.num_elements() / to.dim(0);
  const int rank = from.rank();
  bool whole = true;
  for (int axis = 1; axis < rank; ++axis) whole = whole && from.dim(axis) == to.dim(axis + 1);
  if (whole) return copy_elements(from, 0, to, index * block, from.num_elements());
  if (from.num_elements() == 0) return;
  const int64_t row = from.dim(rank - 1);
  int64_t at[Shape::kMaxRank] = {};
  for (int64_t done = 0; done < from.num_elements(); done += row) {
    int64_t offset = 0;
    for (int axis = 0; axis < rank; ++axis) offset = offset * to.dim(axis + 1) + at[axis];
    copy_elements(from, done, to, index * block + offset, row);
    for (int axis = rank - 2; axis >= 0 && ++at[axis] == from.dim(axis); --axis) at[axis] = 0;
  }
}

}  // namespace

std::vector<Tensor> rows_of(const Tensor& tensor) {
  std::vector<Tensor> rows;
  for (int64_t k = 0; k < tensor.dim(0); ++k) {
    Tensor row(tensor.dtype(), tail_of(tensor.shape()));
    copy_elements(tensor, k * row.num_elements(), row, 0, row.num_elements());
    rows.push_back(std::move(row));
  }
  return rows;
}

// ---- attempts

struct Queue::Enqueue : Attempt {
  Enqueue(Queue& queue, std::vector<Element> elements) : queue(queue), elements(std::move(elements)) {}

  Step step() override {
    if (queue.closed_) fail(Code::Cancelled, queue.spec_.kind, " '", queue.spec_.name, "' is closed.");
    const size_t before = given;
    while (given < elements.size() && !queue.full()) queue.storage_->push(std::move(elements[given++]));
    if (given == elements.size()) return Step::Done;
    return given == before ? Step::Waits : Step::Progressed;
  }

  Queue& queue;
  std::vector<Element> elements;
  size_t given = 0;
};

struct Queue::Dequeue : Attempt {
  Dequeue(Queue& queue, int64_t count, bool up_to, Take take)
      : queue(queue), count(count), up_to(up_to), take(std::move(take)) {}

  Step step() override {
    QueueStorage& storage = *queue.storage_;
    const int64_t missing = count - static_cast<int64_t>(taken.size());
    if (queue.closed_ && storage.size() < missing) {
      const int64_t left = storage.size() + static_cast<int64_t>(taken.size());
      if (!up_to || left == 0) queue.too_few(count, left);
      while (storage.size() > 0) taken.push_back(storage.pop());
      return Step::Done;
    }
    const int64_t now = std::min(missing, storage.ready(queue.closed_));
    for (int64_t i = 0; i < now; ++i) taken.push_back(storage.pop());
    if (static_cast<int64_t>(taken.size()) == count) return Step::Done;
    return now > 0 ? Step::Progressed : Step::Waits;
  }
  void abandon() override {
    for (; !taken.empty(); taken.pop_back()) queue.storage_->put_back(std::move(taken.back()));
  }
  void finish() override { take(std::move(taken)); }

  Queue& queue;
  const int64_t count;
  const bool up_to;
  const Take take;
  std::vector<Element> taken;
};

struct Queue::Close : Attempt {
  explicit Close(Queue& queue) : queue(queue) {}
  Step step() override {
    if (queue.closed_) fail(Code::Cancelled, queue.spec_.kind, " '", queue.spec_.name, "' is already closed.");
    queue.closed_ = true;
    return Step::Done;
  }
  Queue& queue;
};

// ---- the queue

int64_t Queue::size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return storage_->size();
}

bool Queue::closed() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return closed_;
}

void Queue::enqueue(std::vector<Element> elements, Patience patience, Done done) {
  if (elements.empty()) return done(nullptr);
  start(kEnqueue, std::make_shared<Enqueue>(*this, std::move(elements)), patience, std::move(done));
}

void Queue::dequeue(int64_t count, bool up_to, Patience patience, Take take, Done done) {
  if (count == 0) {
    if (succeeds(done, [&] { take({}); })) done(nullptr);
    return;
  }
  start(kDequeue, std::make_shared<Dequeue>(*this, count, up_to, std::move(take)), patience, std::move(done));
}

void Queue::close(Patience patience, Done done) {
  start(kEnqueue, std::make_shared<Close>(*this), patience, std::move(done));
}

void Queue::close_and_cancel() {
  change([this](auto& finished) {
    closed_ = true;
    end_line(kEnqueue, Error(Code::Cancelled, "Enqueue operation was cancelled"), finished);
  });
}

void Queue::too_few(int64_t requested, int64_t size) const {
  fail(Code::OutOfRange, spec_.kind, " '", spec_.name, "' is closed and has insufficient elements (requested ", requested,
       ", current size ", size, ")");
}

// ---- elements

void Queue::check_component(const Tensor& t, size_t i, int skipped) const {
  check(t.dtype() == spec_.dtypes[i], "[", spec_.kind, "] component ", i, " of queue '", spec_.name, "' must be ",
        name_of(spec_.dtypes[i]), ": got ", name_of(t.dtype()));
  check(spec_.shapes.empty() || fits(spec_.shapes[i], t.shape(), skipped), "[", spec_.kind,
        "] Shape mismatch in tuple component ", i, " of queue '", spec_.name, "'. Expected ",
        spec_.shapes.empty() ? "" : text_of(spec_.shapes[i]), skipped ? " after the first dimension" : "", ", got ", t.shape());
}

Element Queue::element_of(std::vector<Tensor> components) const {
  check(components.size() == spec_.dtypes.size(), "[", spec_.kind, "] elements of queue '", spec_.name, "' have ",
        spec_.dtypes.size(), " components: got ", components.size());
  for (size_t i = 0; i < components.size(); ++i) check_component(components[i], i, 0);
  return {std::move(components)};
}

std::vector<Element> Queue::elements_of(const std::vector<Tensor>& components) const {
  check(components.size() == spec_.dtypes.size() && !components.empty(), "[", spec_.kind, "] elements of queue '",
        spec_.name, "' have ", spec_.dtypes.size(), " components: got ", components.size());
  for (size_t i = 0; i < components.size(); ++i) {
    const Tensor& t = components[i];
    check(t.rank() > 0, "[", spec_.kind, "] component ", i, " of several elements must have a first dimension: got ()");
    check_component(t, i, 1);
    check(t.dim(0) == components[0].dim(0), "[", spec_.kind, "] all components must have the same size in the first ",
          "dimension: got ", components[0].dim(0), " and ", t.dim(0));
  }
  std::vector<Element> elements(static_cast<size_t>(components[0].dim(0)));
  for (const Tensor& t : components) {
    std::vector<Tensor> rows = rows_of(t);
    for (size_t k = 0; k < elements.size(); ++k) elements[k].components.push_back(std::move(rows[k]));
  }
  return elements;
}

void Queue::stack(const std::vector<Element>& elements, const Output& output) const {
  for (size_t i = 0; i < spec_.dtypes.size(); ++i) {
    Shape shape{static_cast<int64_t>(elements.size())};
    if (!elements.empty()) {
      const Shape& first = elements[0].components[i].shape();
      for (int axis = 0; axis < first.rank(); ++axis) {
        int64_t most = 0;
        for (const Element& e : elements) most = std::max(most, e.components[i].dim(axis));
        shape.add(most);
      }
    } else {
      for (int64_t d : spec_.shapes[i].dims) shape.add(std::max<int64_t>(d, 0));
    }
    Tensor& batch = output(i, shape);
    bool ragged = false;
    for (const Element& e : elements) ragged = ragged || e.components[i].shape() != tail_of(shape);
    if (ragged) clear_elements(batch);
    if (batch.num_elements() == 0) continue;
    for (size_t k = 0; k < elements.size(); ++k) place(elements[k].components[i], batch, static_cast<int64_t>(k));
  }
}

}  // namespace rf
