// The data-flow schedule where kernels wait: calls that come back from other threads, what ends a run early, and many
// runs of one graph at once.
#include <chrono>
#include <limits>

#include "tests/check.h"
#include "tests/flow_graphs.h"

using namespace rf;
using namespace rf::test;

namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

Bytes two_waits() {
  return argument("x", 0, {}) + op("a", "TestAsyncAdd", {"x", "x"}) + op("b", "TestAsyncAdd", {"a", "x"}) +
         op("c", "TestAsyncAdd", {"a", "a"}) + op("y", "TestAdd", {"b", "c"}) + result("r", 0, "y");
}

void calls_come_back_from_another_thread() {
  auto e = build(two_waits());
  CHECK(e->describe().find("by ready queue") != std::string::npos);  // waiting kernels alone ask for it
  for (int patience : {0, 4}) {
    defer.reset(patience);
    for (int k = 0; k < 50; ++k) CHECK(values(e->run({scalar(static_cast<float>(k))})[0]) == Floats({7.0f * static_cast<float>(k)}));
  }
}

void a_loop_waits_in_its_body() {
  auto e = build(loop(10, "TestAsyncAdd"));
  defer.reset(0);
  for (float n : {0.0f, 1.0f, 200.0f}) CHECK(values(e->run({scalar(n), scalar(1)})[0]) == Floats({n}));
}

void an_error_cancels_what_waits() {
  // 'wait' would wait for ever; 'bad' fails meanwhile, on another thread
  auto e = build(argument("x", 0, {}) + argument("k", 1, {}) + op("wait", "TestNever", {}) + op("late", "TestAsyncAdd", {"x", "x"}) +
                 op("bad", "TestFailAt3", {"late", "k"}) + op("y", "TestAdd", {"wait", "bad"}) + result("r", 0, "y"));
  for (int round = 0; round < 20; ++round)
    CHECK(fails(Code::OutOfRange, "bad|[TestFailAt3] three", [&] { e->run({scalar(2), scalar(3)}); }));
}

void a_timeout_names_what_waits() {
  auto e = build(op("wait", "TestNever", {}) + op("y", "TestAddOne", {"wait"}) + result("r", 0, "y"));
  RunOptions options;
  options.timeout_ms = 30;
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    CHECK(fails(Code::DeadlineExceeded, "wait|[run] the run has not ended within 30 ms: these wait: 'wait' (TestNever)",
                [&] { e->run({}, options); }));
    CHECK(ms_since(start) >= 29);
  }
}

void a_timeout_ends_a_loop_that_does_not() {
  auto e = build(loop(10));
  RunOptions options;
  options.timeout_ms = 20;
  CHECK(fails(Code::DeadlineExceeded, "nodes are still running",
              [&] { e->run({scalar(std::numeric_limits<float>::infinity()), scalar(1)}, options); }));
  CHECK(values(e->run({scalar(3), scalar(1)})[0]) == Floats({3}));
}

void a_run_is_cancelled_from_outside() {
  auto e = build(op("wait", "TestNever", {}) + result("r", 0, "wait"));
  for (int round = 0; round < 20; ++round) {
    Cancellation cancellation;
    RunOptions options;
    options.cancellation = &cancellation;
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(round * 50));
      cancellation.cancel();
    });
    CHECK(fails(Code::Cancelled, "[run] the run was cancelled", [&] { e->run({}, options); }));
    other.join();
    CHECK(fails(Code::Cancelled, "[run] the run was cancelled", [&] { e->run({}, options); }));  // and so are later ones
  }
}

void the_calling_thread_is_asked_while_it_waits() {
  static std::atomic<int> asked;
  asked = 0;
  auto e = build(op("wait", "TestNever", {}) + result("r", 0, "wait"));
  RunOptions options;
  options.interrupted = [] { return ++asked == 2; };
  const auto start = Clock::now();
  CHECK(fails(Code::Cancelled, "[run] the run was interrupted", [&] { e->run({}, options); }));
  CHECK(asked == 2 && ms_since(start) > 150);
}

void many_threads_run_one_graph() {
  auto e = build(loop(10, "TestAsyncAdd"));
  auto nest = build(nested());
  defer.reset(0);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&, k] {
      const float n = static_cast<float>(3 + k);
      for (int round = 0; round < 40; ++round) {
        if (values(e->run({scalar(n), scalar(2)})[1]) != Floats({std::exp2(n)})) ++wrong;
        if (values(nest->run({scalar(n)})[0]) != Floats({n * n})) ++wrong;
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

void a_blocked_run_lets_others_through() {
  // p: wait for ever; else x: both in one graph, at once
  auto e = build(argument("x", 0, {}) + argument("p", 1, {}, 10) + flow("sw", "Switch", {"x", "p"}) +
                 op("pivot", "TestIdentity", {"sw:1"}) + op("wait", "TestNever", {"^pivot"}) +
                 flow("m", "Merge", {"sw", "wait"}) + result("r", 0, "m"));
  Cancellation cancellation;
  RunOptions options;
  options.cancellation = &cancellation;
  std::atomic<bool> ended{false};
  std::thread blocked([&] {
    CHECK(fails(Code::Cancelled, "cancelled", [&] { e->run({scalar(1), truth(true)}, options); }));
    ended = true;
  });
  for (int round = 0; round < 100; ++round) CHECK(values(e->run({scalar(2), truth(false)})[0]) == Floats({2}));
  CHECK(!ended);
  cancellation.cancel();
  blocked.join();
}

void waiting_calls_are_timed() {
  auto e = build(two_waits());
  defer.reset(20);
  std::vector<Call> calls;
  e->run_timed({scalar(1)}, calls);
  int found = 0;
  for (const Call& c : calls)
    if (c.node->op == "TestAsyncAdd") found += c.end_ns - c.start_ns > 500000 && c.outputs.size() == 1;
  CHECK(found == 3);
}

std::unique_ptr<Executable> helped(const Bytes& b, int threads) {
  return build(b, std::make_shared<Resources>(), std::make_shared<InterOpPool>(threads));
}

void costly_nodes_run_side_by_side() {
  auto e = helped(node("trigger", "ControlTrigger", {}) + op("a", "TestMeet", {}) + op("b", "TestMeet", {}) +
                      op("y", "TestAdd", {"a", "b"}) + result("r", 0, "y"), 2);
  for (int round = 0; round < 5; ++round) {
    std::vector<Call> calls;
    CHECK(values(e->run_timed({}, calls)[0]) == Floats({2}));
    CHECK(std::any_of(calls.begin(), calls.end(), [](const Call& c) { return c.thread == 1; }));
    CHECK(std::is_sorted(calls.begin(), calls.end(), [](const Call& a, const Call& b) { return a.start_ns < b.start_ns; }));
  }
}

// 8 sums of 8 sums each
Bytes tree() {
  Bytes b = argument("x", 0, {}) + node("trigger", "ControlTrigger", {});
  std::string total = "x";
  for (int i = 0; i < 8; ++i) {
    std::string sum = "x";
    for (int k = 0; k < 8; ++k) {
      const std::string name = "s" + std::to_string(i) + std::to_string(k);
      b += op(name, "TestSlowAdd", {sum, "x"});
      sum = name;
    }
    const std::string name = "t" + std::to_string(i);
    b += op(name, "TestAdd", {total, sum});
    total = name;
  }
  return b + result("r", 0, total);
}

void helpers_change_no_result() {
  for (int threads : {1, 2, 4}) {
    auto wide = helped(tree(), threads), nest = helped(nested(), threads), while_ = helped(loop(4, "TestSlowAdd"), threads);
    auto waits = helped(loop(4, "TestAsyncAdd"), threads);
    defer.reset(0);
    for (int round = 0; round < 30; ++round) {
      CHECK(values(wide->run({scalar(1)})[0]) == Floats({73}));
      CHECK(values(nest->run({scalar(6)})[0]) == Floats({36}));
      CHECK(values(while_->run({scalar(12), scalar(2)})[1]) == Floats({4096}));
      CHECK(values(waits->run({scalar(12), scalar(2)})[0]) == Floats({12}));
    }
  }
}

void an_error_ends_a_run_with_helpers() {
  auto e = helped(loop(10, "TestFailAt3") + op("b1", "TestSlowAdd", {"n", "k"}) + op("b2", "TestSlowAdd", {"n", "n"}) +
                      op("b3", "TestSlowAdd", {"b1", "b2"}), 4);
  for (int round = 0; round < 30; ++round)
    CHECK(fails(Code::OutOfRange, "body|[TestFailAt3] three", [&] { e->run({scalar(9), scalar(3)}); }));
}

void many_runs_share_the_helpers() {
  auto e = helped(tree(), 3);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int k = 1; k <= 4; ++k)
    threads.emplace_back([&, k] {
      for (int round = 0; round < 20; ++round)
        if (values(e->run({scalar(static_cast<float>(k))})[0]) != Floats({73.0f * static_cast<float>(k)})) ++wrong;
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

}  // namespace

int main() {
  TEST(calls_come_back_from_another_thread);
  TEST(a_loop_waits_in_its_body);
  TEST(an_error_cancels_what_waits);
  TEST(a_timeout_names_what_waits);
  TEST(a_timeout_ends_a_loop_that_does_not);
  TEST(a_run_is_cancelled_from_outside);
  TEST(the_calling_thread_is_asked_while_it_waits);
  TEST(many_threads_run_one_graph);
  TEST(a_blocked_run_lets_others_through);
  TEST(waiting_calls_are_timed);
  TEST(costly_nodes_run_side_by_side);
  TEST(helpers_change_no_result);
  TEST(an_error_ends_a_run_with_helpers);
  TEST(many_runs_share_the_helpers);
  return failures != 0;
}
