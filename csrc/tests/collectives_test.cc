// Communicators over loopback threads: results, buckets with overlap, failure. Run under the thread sanitizer as well.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "tests/check.h"
#include "tests/ranks.h"

using namespace rf;
using rf::test::contribution;
using rf::test::on_ranks;
using rf::test::sum;

namespace {

void test_allreduce(Algorithm algorithm) {
  for (int p : {1, 2, 3, 5, 8}) {
    on_ranks(p, algorithm, 60, [&](Communicator& c) {
      for (int64_t n : {0, 1, 7, 1000, 65539, 600000}) {
        std::vector<int64_t> x(static_cast<size_t>(n));
        for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] = contribution(c.rank(), i);
        c.allreduce(x.data(), n, DType::Int64, Reduction::Sum);
        int64_t wrong = 0;
        for (int64_t i = 0; i < n; ++i) wrong += x[static_cast<size_t>(i)] != sum(p, i);
        CHECK(wrong == 0);
      }
    });
  }
}

void test_buckets_overlap(Algorithm algorithm) {
  constexpr int64_t n = 50000;
  on_ranks(4, algorithm, 60, [&](Communicator& c) {
    std::vector<std::shared_ptr<Bucket>> buckets{c.bucket(n * 4), c.bucket(n * 4), c.bucket(n * 4)};
    int64_t wrong = 0;
    for (int step = 0; step < 20; ++step) {
      std::vector<Progress::Ticket> tickets;
      for (auto& b : buckets) {
        auto* x = static_cast<int32_t*>(b->input());
        for (int64_t i = 0; i < n; ++i) x[i] = static_cast<int32_t>(contribution(c.rank(), i)) + step;
        tickets.push_back(c.start(b, n, DType::Int32, Reduction::Sum));
      }
      for (size_t k = 0; k < buckets.size(); ++k) {
        c.wait(tickets[k]);
        const auto* y = static_cast<const int32_t*>(buckets[k]->result());
        for (int64_t i = 0; i < n; ++i) wrong += y[i] != sum(4, i) + 4 * step;
      }
    }
    CHECK(wrong == 0);
  });
}

// Results of their own, apart and in place; also of fewer elements than there is room for.
void test_buckets_in_place() {
  for (int p : {1, 2, 3, 5})
    on_ranks(p, Algorithm::OnePass, 60, [&](Communicator& c) {
      for (int64_t room : {0, 1, 1000, 1024, 1025, 3000, 5 * 1024, 50000}) {
        auto bucket = c.bucket(static_cast<size_t>(room) * 4, true);
        int64_t wrong = 0;
        for (int step = 0; step < 12; ++step) {
          const int64_t n = std::max<int64_t>(room - 300 * (step % 4), 0);
          auto* x = static_cast<int32_t*>(bucket->input());
          for (int64_t i = 0; i < n; ++i) x[i] = static_cast<int32_t>(contribution(c.rank(), i)) + step;
          if (step % 2)
            c.allreduce(*bucket, n, DType::Int32, Reduction::Sum);
          else
            c.wait(c.start(bucket, n, DType::Int32, Reduction::Sum));
          const auto* y = static_cast<const int32_t*>(bucket->result());
          for (int64_t i = 0; i < n && p > 1; ++i) wrong += y[i] != sum(p, i) + p * step;
          c.barrier();  // before the windows are filled again
        }
        CHECK(wrong == 0);
      }
    });
}

// One rank's own window is what it reduces into, whatever its place among the sources.
void test_reduce_into_any_source() {
  for (DType dtype : {DType::Float, DType::Half})
    for (int target = 0; target < 4; ++target) {
      constexpr int64_t n = 5000;
      std::vector<float> values[4];
      std::vector<char> memory[4];
      const void* sources[4];
      for (int r = 0; r < 4; ++r) {
        for (int64_t i = 0; i < n; ++i) values[r].push_back(static_cast<float>((i * (r + 2)) % 16));
        memory[r].resize(n * size_of(dtype));
        if (dtype == DType::Half)
          narrow(dtype, values[r].data(), memory[r].data(), n);
        else
          std::memcpy(memory[r].data(), values[r].data(), memory[r].size());
        sources[r] = memory[r].data();
      }
      reduce(dtype, Reduction::Mean, memory[target].data(), sources, 4, n);
      std::vector<float> got(n);
      if (dtype == DType::Half)
        widen(dtype, memory[target].data(), got.data(), n);
      else
        std::memcpy(got.data(), memory[target].data(), memory[target].size());
      int64_t wrong = 0;
      for (size_t i = 0; i < n; ++i)
        wrong += got[i] != (values[0][i] + values[1][i] + values[2][i] + values[3][i]) / 4;
      CHECK(wrong == 0);
    }
}

void test_gather_and_broadcast(Algorithm algorithm) {
  on_ranks(3, algorithm, 60, [&](Communicator& c) {
    std::vector<size_t> bytes{5, 0, 3000000};
    std::vector<char> mine(bytes[static_cast<size_t>(c.rank())], static_cast<char>('a' + c.rank())), all(3000005);
    c.allgatherv(mine.data(), all.data(), bytes);
    CHECK(all[0] == 'a' && all[4] == 'a' && all[5] == 'c' && all.back() == 'c');
    std::vector<char> x(3000001, static_cast<char>(c.rank()));
    c.broadcast(x.data(), x.size(), 2);
    CHECK(x.front() == 2 && x.back() == 2);
    c.barrier();
    int32_t token = c.rank();
    if (c.rank() == 0) c.send(&token, sizeof token, 2, 9);
    if (c.rank() == 2) {
      c.receive(&token, sizeof token, 0, 9);
      CHECK(token == 0);
    }
  });
}

// The text with which each rank's barrier ends. `told`: how many have.
std::vector<std::string> barrier_errors(double timeout_s, const std::function<void(Communicator&)>& rank_one,
                                        std::atomic<int>* told = nullptr) {
  std::vector<std::string> errors(3);
  on_ranks(3, Algorithm::Auto, timeout_s, [&](Communicator& c) {
    c.barrier();
    if (c.rank() == 1) return rank_one(c);
    try {
      c.barrier();
    } catch (const Error& e) {
      errors[static_cast<size_t>(c.rank())] = e.what();
      if (told) ++*told;
    }
  });
  return errors;
}

void test_failures_reach_everybody() {
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& e : barrier_errors(60, [](Communicator& c) { c.abort("rank 1/3 ended: ValueError: no"); }))
    CHECK(e.empty() || e == "[barrier] rank 1/3 ended: ValueError: no");
  const auto left = barrier_errors(60, [](Communicator&) {});
  CHECK(left[0].find("rank 1 has left") != std::string::npos && left[2].find("rank 1 has left") != std::string::npos);
  std::atomic<int> told{0};
  const auto late = barrier_errors(1, [&](Communicator&) {
    while (told < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }, &told);
  CHECK(late[0].find("rank 1 has not joined, last seen in collective 1 (barrier)") != std::string::npos);
  CHECK(late[2].find("timed out") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
}

// A transport that is stuck in a call for as long as `held` says.
class Held : public Transport {
 public:
  Held(std::shared_ptr<Transport> inner, const std::atomic<bool>* held) : inner_(std::move(inner)), held_(held) {}
  const char* name() const override { return inner_->name(); }
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Request start_send(int to, int tag, const void* data, size_t bytes) override {
    return inner_->start_send(to, tag, data, bytes);
  }
  Request start_receive(int from, int tag, void* data, size_t bytes) override {
    inside = true;
    return inner_->start_receive(from, tag, data, bytes);
  }
  bool done(Request request) override {
    while (*held_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return inner_->done(request);
  }
  void cancel(Request request) override { inner_->cancel(request); }
  std::shared_ptr<Transport> between(const std::vector<int>& ranks, int number) override {
    return inner_->between(ranks, number);
  }
  void announce(const std::string& notice) override { inner_->announce(notice); }
  bool heard(std::string* notice) override { return inner_->heard(notice); }

  std::atomic<bool> inside{false};

 private:
  const std::shared_ptr<Transport> inner_;
  const std::atomic<bool>* const held_;
};

void test_an_error_that_could_not_be_sent_at_once_is_sent_before_the_departure() {
  const std::vector<int> nodes{0, 1};  // that share nothing
  const auto world = make_loopback_world(2, nodes);
  CommunicatorOptions options;
  options.nodes = nodes;
  options.timeout_s = 60;
  std::atomic<bool> held{true};
  const auto slow = std::make_shared<Held>(loopback_transport(world, 1), &held);
  Communicator first(loopback_transport(world, 0), nullptr, options), second(slow, nullptr, options);
  std::thread job([&] {
    char byte;
    try {
      second.receive(&byte, 1, 0, 0);
    } catch (const Error&) {
    }
  });
  while (!slow->inside) std::this_thread::yield();
  second.abort("rank 1/2 ended: ValueError: no");  // gives up: the job is inside the transport
  held = false;
  job.join();
  second.tell();
  try {
    first.barrier();
    CHECK(false);
  } catch (const Error& e) {
    CHECK(std::string(e.what()) == "[barrier] rank 1/2 ended: ValueError: no");
  }
}

void test_different_calls_are_an_error_on_every_rank() {
  std::atomic<int> told{0};
  on_ranks(3, Algorithm::Auto, 60, [&](Communicator& c) {
    std::vector<float> x(8, 1.0f);
    try {
      c.allreduce(x.data(), c.rank() == 2 ? 8 : 7, DType::Float, Reduction::Sum);
    } catch (const Error& e) {
      told += std::string(e.what()).find("allreduce(sum, 8 x float32)") != std::string::npos;
    }
    c.barrier();  // and the ranks are still in step
  });
  CHECK(told == 3);
}

}  // namespace

int main() {
  using rf::test::run;
  for (Algorithm a : {Algorithm::OnePass, Algorithm::Ring, Algorithm::HalvingDoubling, Algorithm::Tree}) {
    run((std::string("allreduce by ") + name_of(a)).c_str(), [a] { test_allreduce(a); });
    run((std::string("buckets overlap by ") + name_of(a)).c_str(), [a] { test_buckets_overlap(a); });
    run((std::string("gather and broadcast by ") + name_of(a)).c_str(), [a] { test_gather_and_broadcast(a); });
  }
  TEST(test_buckets_in_place);
  TEST(test_reduce_into_any_source);
  TEST(test_failures_reach_everybody);
  TEST(test_an_error_that_could_not_be_sent_at_once_is_sent_before_the_departure);
  TEST(test_different_calls_are_an_error_on_every_rank);
  return rf::test::failures != 0;
}
