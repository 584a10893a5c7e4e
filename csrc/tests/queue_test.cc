// Queues without an executor: order, closing, cancellation and timeouts, and many threads at once. Run under the thread
// sanitizer: the lines of attempts are all the locking that queues, barriers, mutexes and accumulators have.
#include "kernels/queue.h"

#include <atomic>
#include <future>
#include <optional>
#include <random>
#include <thread>

#include "tests/check.h"

using namespace rf;
using namespace rf::test;

namespace {

std::shared_ptr<Queue> queue_of(int64_t capacity, std::unique_ptr<QueueStorage> storage = std::make_unique<FifoStorage>()) {
  QueueSpec spec;
  spec.kind = "FIFOQueue";
  spec.name = "q";
  spec.dtypes = {DType::Int64};
  spec.shapes = {PartialShape{}};
  spec.capacity = capacity;
  return std::make_shared<Queue>(std::move(spec), std::move(storage));
}

Element element(int64_t value) {
  Tensor t(DType::Int64, {});
  *t.data<int64_t>() = value;
  return {{t}};
}

// One operation on a queue: a future of its end, which `get` rethrows.
class Operation {
 public:
  explicit Operation(int64_t timeout_ms = -1) : timeout_ms_(timeout_ms), ended_(promise_.get_future()) {}

  Operation& enqueue(Queue& q, const std::vector<int64_t>& values) {
    std::vector<Element> elements;
    for (int64_t v : values) elements.push_back(element(v));
    q.enqueue(std::move(elements), patience("Enqueue operation"), done());
    return *this;
  }
  Operation& dequeue(Queue& q, int64_t n, bool up_to = false) {
    const auto take = [this](std::vector<Element> elements) {
      for (const Element& e : elements) values.push_back(e.components[0].scalar<int64_t>());
    };
    q.dequeue(n, up_to, patience("Dequeue operation"), take, done());
    return *this;
  }
  Operation& close(Queue& q) {
    q.close(patience("Close operation"), done());
    return *this;
  }
  bool waits() { return ended_.wait_for(std::chrono::milliseconds(0)) != std::future_status::ready; }
  void get() {
    ended_.get();
    if (error_) throw *error_;
  }

  Cancellation cancellation;
  std::vector<int64_t> values;

 private:
  Waiting::Patience patience(const char* what) { return {cancellation, timeout_ms_, what}; }
  Done done() {
    return [this](const std::exception_ptr& error) {
      // a copy: the sanitizer does not see that the library counts references to exceptions atomically
      if (error) try {
          std::rethrow_exception(error);
        } catch (const Error& e) {
          error_.emplace(e.code, e.what());
        }
      promise_.set_value();
    };
  }

  const int64_t timeout_ms_;
  std::promise<void> promise_;
  std::future<void> ended_;
  std::optional<Error> error_;
};

using Values = std::vector<int64_t>;

void dequeuers_are_served_in_the_order_in_which_they_came() {
  const auto q = queue_of(10);
  Operation first, second;
  first.dequeue(*q, 2);
  second.dequeue(*q, 1);
  Operation().enqueue(*q, {1}).get();
  CHECK(first.waits() && second.waits());
  Operation().enqueue(*q, {2, 3}).get();
  first.get();
  second.get();
  CHECK(first.values == Values({1, 2}) && second.values == Values({3}));
}

void a_cancelled_attempt_gives_back_what_it_has_taken() {
  const auto q = queue_of(10);
  Operation many, one;
  Operation().enqueue(*q, {1, 2}).get();
  many.dequeue(*q, 3);
  one.dequeue(*q, 1);
  CHECK(q->size() == 0 && one.waits());
  many.cancellation.cancel();
  CHECK(fails(Code::Cancelled, "Dequeue operation was cancelled", [&] { many.get(); }));
  one.get();  // served from what came back
  CHECK(one.values == Values({1}) && q->size() == 1);
  Operation late;
  late.cancellation.cancel();  // before it begins
  CHECK(fails(Code::Cancelled, "was cancelled", [&] { late.dequeue(*q, 2).get(); }));
  CHECK(q->size() == 1);
}

void a_timeout_gives_back_what_was_taken() {
  const auto q = queue_of(10);
  Operation().enqueue(*q, {1, 2}).get();
  Operation late(20);
  CHECK(fails(Code::DeadlineExceeded, "timeout of 20 ms", [&] { late.dequeue(*q, 3).get(); }));
  Operation again;
  again.dequeue(*q, 2).get();
  CHECK(again.values == Values({1, 2}));
  Operation in_time(10000);  // its deadline is forgotten with it
  Operation().enqueue(*q, {5}).get();
  in_time.dequeue(*q, 1).get();
}

void closing_waits_for_those_who_are_enqueuing() {
  const auto q = queue_of(1);
  Operation many, closing, after;
  many.enqueue(*q, {1, 2, 3});
  closing.close(*q);
  after.enqueue(*q, {4});
  CHECK(many.waits() && closing.waits() && after.waits() && !q->closed());
  Operation three;
  three.dequeue(*q, 3).get();
  many.get();
  closing.get();
  CHECK(fails(Code::Cancelled, "FIFOQueue 'q' is closed.", [&] { after.get(); }));
  CHECK(fails(Code::Cancelled, "already closed", [&] { Operation().close(*q).get(); }));
  CHECK(fails(Code::OutOfRange, "(requested 1, current size 0)", [&] { Operation().dequeue(*q, 1, true).get(); }));
}

void closing_with_cancel_ends_who_enqueues_and_serves_who_dequeues() {
  const auto q = queue_of(2);
  Operation blocked, few, some;
  blocked.enqueue(*q, {1, 2, 3});
  q->close_and_cancel();
  CHECK(fails(Code::Cancelled, "Enqueue operation was cancelled", [&] { blocked.get(); }));
  CHECK(fails(Code::OutOfRange, "(requested 3, current size 2)", [&] { few.dequeue(*q, 3).get(); }));
  some.dequeue(*q, 3, true).get();
  CHECK(some.values == Values({1, 2}));
}

void priorities_come_least_first_even_when_put_back() {
  const auto q = queue_of(-1, std::make_unique<PriorityStorage>());
  Operation().enqueue(*q, {5, 1, 3}).get();
  Operation many, two;
  many.dequeue(*q, 4);
  many.cancellation.cancel();
  two.dequeue(*q, 2).get();
  CHECK(two.values == Values({1, 3}));
}

// Everybody at once: nothing is lost or doubled, though some are cancelled or late.
void many_threads_lose_and_double_nothing(std::unique_ptr<QueueStorage> storage) {
  constexpr int kThreads = 4, kEach = 400;
  const auto q = queue_of(7, std::move(storage));
  std::vector<std::atomic<int>> given(kThreads * kEach), got(kThreads * kEach);
  std::vector<std::thread> producers, consumers;
  for (int p = 0; p < kThreads; ++p)
    producers.emplace_back([&, p] {
      for (int k = 0; k < kEach; ++k) {
        const int64_t value = p * kEach + k;
        Operation op(k % 5 == 0 ? 1 : -1);
        std::thread canceller;
        op.enqueue(*q, {value});
        if (k % 7 == 0) canceller = std::thread([&] { op.cancellation.cancel(); });
        try {
          op.get();
          ++given[static_cast<size_t>(value)];
        } catch (const Error& e) {
          CHECK(e.code == Code::Cancelled || e.code == Code::DeadlineExceeded);
        }
        if (canceller.joinable()) canceller.join();
      }
    });
  for (int c = 0; c < kThreads; ++c)
    consumers.emplace_back([&, c] {
      std::mt19937 random(static_cast<unsigned>(c));
      while (true) {
        Operation op(random() % 4 == 0 ? 1 : -1);
        std::thread canceller;
        op.dequeue(*q, static_cast<int64_t>(random() % 3) + 1, c % 2 == 0);
        if (random() % 8 == 0) canceller = std::thread([&] { op.cancellation.cancel(); });
        Code code = Code::Unknown;
        try {
          op.get();
          for (int64_t v : op.values) ++got[static_cast<size_t>(v)];
        } catch (const Error& e) {
          code = e.code;
        }
        if (canceller.joinable()) canceller.join();
        if (code == Code::OutOfRange) return;
      }
    });
  for (auto& t : producers) t.join();
  Operation().close(*q).get();
  for (auto& t : consumers) t.join();
  while (q->size() > 0) {  // fewer than the last asked for
    Operation op;
    op.dequeue(*q, 1).get();
    ++got[static_cast<size_t>(op.values[0])];
  }
  int differing = 0, total = 0;
  for (size_t i = 0; i < given.size(); ++i) {
    differing += given[i] != got[i];
    total += got[i];
  }
  CHECK(differing == 0);
  CHECK(total > 0);
}

void many_threads_on_a_fifo() { many_threads_lose_and_double_nothing(std::make_unique<FifoStorage>()); }
void many_threads_on_a_shuffle() { many_threads_lose_and_double_nothing(std::make_unique<ShuffleStorage>(3, 1, 2)); }

}  // namespace

int main() {
  TEST(dequeuers_are_served_in_the_order_in_which_they_came);
  TEST(a_cancelled_attempt_gives_back_what_it_has_taken);
  TEST(a_timeout_gives_back_what_was_taken);
  TEST(closing_waits_for_those_who_are_enqueuing);
  TEST(closing_with_cancel_ends_who_enqueues_and_serves_who_dequeues);
  TEST(priorities_come_least_first_even_when_put_back);
  TEST(many_threads_on_a_fifo);
  TEST(many_threads_on_a_shuffle);
  return failures != 0;
}
