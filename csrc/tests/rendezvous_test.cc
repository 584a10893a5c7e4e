// The rendezvous: either order, once a key, abort, and many threads at once.
#include "runtime/rendezvous.h"

#include <atomic>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace rf::test {
namespace {

Tensor number(float value) {
  Tensor t(DType::Float, Shape());
  *t.data<float>() = value;
  return t;
}

struct Got {
  int calls = 0;
  float value = 0;
  bool dead = false;
  std::exception_ptr error;

  Rendezvous::Receiver receiver() {
    return [this](Parcel parcel, std::exception_ptr e) {
      ++calls;
      error = e;
      dead = parcel.dead;
      if (parcel.tensor.initialized()) value = parcel.tensor.scalar<float>();
    };
  }
};

void either_may_come_first() {
  Rendezvous r;
  Got early, late;
  r.receive("a", early.receiver());
  CHECK(early.calls == 0);
  r.send("a", {number(1), false});
  CHECK(early.calls == 1 && early.value == 1.0f && !early.error);
  r.send("b", {number(2), false});
  r.receive("b", late.receiver());
  CHECK(late.calls == 1 && late.value == 2.0f);
}

void a_dead_parcel_arrives_dead() {
  Rendezvous r;
  Got got;
  r.send("a", {Tensor(), true});
  r.receive("a", got.receiver());
  CHECK(got.calls == 1 && got.dead && !got.error);
}

void a_key_serves_once() {
  Rendezvous r;
  Got got;
  r.send("a", {number(1), false});
  CHECK(fails(Code::AlreadyExists, "'a' was sent before", [&] { r.send("a", {number(1), false}); }));
  r.receive("a", got.receiver());
  CHECK(fails(Code::AlreadyExists, "'a' was taken before", [&] { r.receive("a", got.receiver()); }));
  CHECK(fails(Code::AlreadyExists, "'a' was sent before", [&] { r.send("a", {number(1), false}); }));
  CHECK(got.calls == 1);
}

void abort_reaches_those_who_wait_and_those_who_come() {
  Rendezvous r;
  Got waiting, later;
  r.receive("a", waiting.receiver());
  r.abort(std::make_exception_ptr(Error(Code::OutOfRange, "first")));
  r.abort(std::make_exception_ptr(Error(Code::Internal, "second")));
  r.send("a", {number(1), false});
  r.receive("b", later.receiver());
  for (const Got* got : {&waiting, &later}) {
    CHECK(got->calls == 1);
    CHECK(fails(Code::OutOfRange, "first", [&] { std::rethrow_exception(got->error); }));
  }
}

void after_the_end_what_was_sent_can_still_be_received() {
  Rendezvous r;
  Got sent, waiting, never;
  r.send("sent", {number(3), false});
  r.receive("waiting", waiting.receiver());
  r.end(std::make_exception_ptr(Error(Code::OutOfRange, "over")));
  r.receive("sent", sent.receiver());
  r.receive("never", never.receiver());
  CHECK(sent.value == 3.0f && !sent.error);
  CHECK(waiting.error && never.error);
}

void who_is_forgotten_is_not_called() {
  Rendezvous r;
  Got got;
  r.receive("a", got.receiver());
  CHECK(r.forget("a"));
  CHECK(!r.forget("a") && !r.forget("b"));
  r.send("a", {number(1), false});
  CHECK(got.calls == 0);
}

void threads_exchange_everything_once() {
  constexpr int kKeys = 2000;
  Rendezvous r;
  std::atomic<int> received{0};
  std::atomic<long> sum{0};
  const auto sends = [&](int from) {
    for (int i = from; i < kKeys; i += 2) r.send(std::to_string(i), {number(static_cast<float>(i)), false});
  };
  const auto receives = [&](int from) {
    for (int i = from; i < kKeys; i += 2)
      r.receive(std::to_string(i), [&](Parcel parcel, std::exception_ptr) {
        sum += static_cast<long>(parcel.tensor.scalar<float>());
        ++received;
      });
  };
  std::vector<std::thread> threads;
  for (int k = 0; k < 2; ++k) {
    threads.emplace_back(sends, k);
    threads.emplace_back(receives, k);
  }
  for (std::thread& t : threads) t.join();
  CHECK(received == kKeys && sum == static_cast<long>(kKeys) * (kKeys - 1) / 2);
}

}  // namespace
}  // namespace rf::test

int main() {
  using namespace rf::test;
  TEST(either_may_come_first);
  TEST(a_dead_parcel_arrives_dead);
  TEST(a_key_serves_once);
  TEST(abort_reaches_those_who_wait_and_those_who_come);
  TEST(after_the_end_what_was_sent_can_still_be_received);
  TEST(who_is_forgotten_is_not_called);
  TEST(threads_exchange_everything_once);
  return failures == 0 ? 0 : 1;
}
