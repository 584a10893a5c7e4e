// parallel_for: every iteration once, parts that do not overlap, exceptions, loops in loops, and callers at once.
#include "base/parallel.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace rf::test {
namespace {

void every_iteration_runs_once() {
  for (int threads : {1, 2, 3, 7}) {
    set_intra_op_threads(threads);
    for (int64_t n : {0, 1, 2, 5, 1000}) {
      for (int64_t grain : {1, 3, 400}) {
        std::vector<int> count(static_cast<size_t>(n), 0);
        std::atomic<int> parts{0};
        parallel_for(n, grain, [&](int64_t begin, int64_t end, int part) {
          CHECK(part >= 0 && part < threads);
          CHECK(parts.fetch_add(1) < threads);
          CHECK(begin == 0 || end - begin >= grain || n < 2 * grain);
          for (int64_t i = begin; i < end; ++i) ++count[static_cast<size_t>(i)];
        });
        for (int c : count) CHECK(c == 1);
      }
    }
  }
}

void an_exception_reaches_the_caller_when_all_parts_have_ended() {
  set_intra_op_threads(3);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> ended{0};
    bool caught = false;
    try {
      parallel_for(3, 1, [&](int64_t begin, int64_t, int) {
        ++ended;
        if (begin == round % 3) throw std::runtime_error("a part");
      });
    } catch (const std::runtime_error& e) {
      caught = std::string(e.what()) == "a part";
    }
    CHECK(caught && ended == 3);
  }
}

void loops_in_loops_and_callers_at_once_run_alone() {
  set_intra_op_threads(4);
  std::vector<std::thread> callers;
  std::atomic<int64_t> total{0};
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&total] {
      for (int round = 0; round < 200; ++round)
        parallel_for(64, 1, [&](int64_t begin, int64_t end, int) {
          parallel_for(end - begin, 1, [&](int64_t from, int64_t to, int) { total += to - from; });
        });
    });
  for (std::thread& t : callers) t.join();
  CHECK(total == 4 * 200 * 64);
}

void results_are_visible_to_the_caller() {
  set_intra_op_threads(3);
  std::vector<double> values(10000);
  for (int round = 0; round < 300; ++round) {
    parallel_for(10000, 100, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) values[static_cast<size_t>(i)] = static_cast<double>(i + round);
    });
    double sum = 0;
    for (double v : values) sum += v;
    CHECK(sum == 10000.0 * (9999.0 / 2 + round));
    if (round % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the threads fall asleep
  }
}

}  // namespace
}  // namespace rf::test

int main() {
  using namespace rf::test;
  TEST(every_iteration_runs_once);
  TEST(an_exception_reaches_the_caller_when_all_parts_have_ended);
  TEST(loops_in_loops_and_callers_at_once_run_alone);
  TEST(results_are_visible_to_the_caller);
  return failures == 0 ? 0 : 1;
}
