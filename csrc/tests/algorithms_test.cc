// Every algorithm on every arrangement of ranks in nodes: results, bytes sent, operations, splits. Under the thread
// sanitizer as well.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "collectives/ring.h"
#include "tests/check.h"
#include "tests/ranks.h"

using namespace rf;
using rf::test::contribution;
using rf::test::on_ranks;
using rf::test::sum;

namespace {

struct Arrangement {
  int p;
  std::vector<int> nodes;
};
const std::vector<Arrangement> kArrangements{
    {1, {}},           {2, {}},           {3, {}},           {4, {}},
    {5, {}},           {6, {}},           {7, {}},           {8, {}},
    {4, {0, 0, 1, 1}}, {4, {0, 1, 0, 1}}, {5, {0, 0, 0, 1, 1}}, {8, {0, 0, 1, 1, 2, 2, 3, 3}},
    {3, {0, 1, 2}},    {4, {0, 1, 1, 1}},
};

void for_each_algorithm(const std::function<void(const Arrangement&, Algorithm)>& test) {
  for (const Arrangement& a : kArrangements)
    for (Algorithm algorithm : {Algorithm::Auto, Algorithm::OnePass, Algorithm::Ring, Algorithm::HalvingDoubling,
                                Algorithm::Tree, Algorithm::Hierarchical}) {
      if (algorithm == Algorithm::OnePass && !a.nodes.empty()) continue;
      if (algorithm == Algorithm::Hierarchical && a.nodes.empty()) continue;
      test(a, algorithm);
    }
}

void test_sums() {
  for_each_algorithm([](const Arrangement& a, Algorithm algorithm) {
    on_ranks(a.p, Algorithm::Auto, 60, [&](Communicator& c) {
      for (int64_t n : {0, 1, 7, 255, 1000, 65539, 300000}) {
        std::vector<int32_t> x(static_cast<size_t>(n));
        for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] = static_cast<int32_t>(contribution(c.rank(), i));
        c.allreduce(x.data(), n, DType::Int32, Reduction::Sum, algorithm);
        int64_t wrong = 0;
        for (int64_t i = 0; i < n; ++i) wrong += x[static_cast<size_t>(i)] != sum(a.p, i);
        CHECK(wrong == 0);
      }
      std::vector<float> y(1000);
      for (size_t i = 0; i < y.size(); ++i) y[i] = static_cast<float>(contribution(c.rank(), static_cast<int64_t>(i)));
      c.allreduce(y.data(), 1000, DType::Float, Reduction::Mean, algorithm);
      int64_t wrong = 0;
      for (size_t i = 0; i < y.size(); ++i)
        wrong += y[i] != static_cast<float>(sum(a.p, static_cast<int64_t>(i))) / static_cast<float>(a.p);
      CHECK(wrong == 0);
    }, a.nodes);
  });
}

void test_sixteen_bit_floats_are_not_summed_in_sixteen_bits() {
  for_each_algorithm([](const Arrangement& a, Algorithm algorithm) {
    on_ranks(a.p, Algorithm::Auto, 60, [&](Communicator& c) {
      std::vector<Half> x(3001, Half(60000.0f));  // the sum is out of range, the mean is not
      c.allreduce(x.data(), 3001, DType::Half, Reduction::Mean, algorithm);
      for (const Half h : x)
        if (std::fabs(static_cast<float>(h) - 60000.0f) > 32.0f) {
          CHECK(!"the mean of 60000 is 60000");
          break;
        }
      std::vector<BFloat16> y(5000, BFloat16(static_cast<float>(c.rank() + 1)));
      c.allreduce(y.data(), 5000, DType::BFloat16, Reduction::Sum, algorithm);
      CHECK(static_cast<float>(y[4999]) == static_cast<float>(a.p * (a.p + 1) / 2));
    }, a.nodes);
  });
}

uint64_t log2_of(int q) { return q <= 1 ? 0 : 1 + log2_of(q / 2); }

// Payload bytes that rank r sends, as the headers state them, where p divides the elements.
uint64_t expected_bytes(Algorithm algorithm, const Arrangement& a, int r, uint64_t n) {
  const uint64_t p = static_cast<uint64_t>(a.p);
  int q = 1;
  while (2 * q <= a.p) q *= 2;
  const int pairs = a.p - q;
  const uint64_t big = static_cast<uint64_t>(q);
  switch (algorithm) {
    case Algorithm::Ring: return 2 * n * (p - 1) / p;
    case Algorithm::HalvingDoubling: {
      if (r < 2 * pairs && r % 2 == 0) return n;
      const uint64_t back = r < 2 * pairs ? n : 0;
      return back + (n <= 2048 ? n * log2_of(q) : 2 * n * (big - 1) / big);
    }
    case Algorithm::Tree: {
      uint64_t children = 0;
      for (int d = 1; d < a.p && !(r & d); d *= 2) children += r + d < a.p;
      return children * n + (r > 0 ? n : 0);
    }
    default: return 0;
  }
}

void test_bytes_sent_are_what_the_headers_state() {
  for (const Arrangement& a : kArrangements)
    for (Algorithm algorithm : {Algorithm::OnePass, Algorithm::Ring, Algorithm::HalvingDoubling, Algorithm::Tree}) {
      if (!a.nodes.empty()) continue;
      on_ranks(a.p, Algorithm::Auto, 60, [&](Communicator& c) {
        for (int64_t n : {0, 840, 840 * 1024}) {  // 840 = lcm(1..8)
          std::vector<char> x(static_cast<size_t>(n));
          const uint64_t before = c.bytes_sent();
          c.allreduce(x.data(), n, DType::Int8, Reduction::Max, algorithm);
          CHECK(c.bytes_sent() - before == expected_bytes(algorithm, a, c.rank(), static_cast<uint64_t>(n)));
        }
      });
    }
}

void test_a_node_sends_the_same_bytes_however_many_ranks_it_has() {
  for (const Arrangement& a : {Arrangement{4, {0, 0, 1, 1}}, Arrangement{8, {0, 0, 0, 0, 1, 1, 1, 1}},
                               Arrangement{6, {0, 0, 0, 1, 1, 1}}, Arrangement{5, {0, 0, 0, 1, 1}},
                               Arrangement{8, {0, 0, 1, 1, 2, 2, 3, 3}}}) {
    std::atomic<uint64_t> sent[4] = {};
    const int64_t n = 3 << 20;  // bytes; what a carrier has is a multiple of a page, and of the nodes
    const int nodes = a.nodes.back() + 1;
    on_ranks(a.p, Algorithm::Auto, 60, [&](Communicator& c) {
      auto bucket = c.bucket(static_cast<size_t>(n));
      std::vector<char> memory(static_cast<size_t>(n), 1);
      c.allreduce(memory.data(), 0, DType::UInt8, Reduction::Sum);  // the first one agrees on memory
      const uint64_t before = c.bytes_sent();
      c.wait(c.start(bucket, n, DType::UInt8, Reduction::Sum));
      c.allreduce(memory.data(), n, DType::UInt8, Reduction::Sum);
      CHECK(memory.front() == a.p && memory.back() == a.p);
      sent[a.nodes[static_cast<size_t>(c.rank())]] += c.bytes_sent() - before;
    }, a.nodes);
    for (int k = 0; k < nodes; ++k) CHECK(sent[k] == 2 * 2 * static_cast<uint64_t>(n) * (nodes - 1) / nodes);
  }
}

void test_buckets_on_several_nodes() {
  for (const Arrangement& a : kArrangements)
    on_ranks(a.p, Algorithm::Auto, 60, [&](Communicator& c) {
      constexpr int64_t n = 30000;
      std::vector<std::shared_ptr<Bucket>> buckets{c.bucket(n * 4), c.bucket(n * 4)};
      int64_t wrong = 0;
      for (int step = 0; step < 6; ++step) {
        std::vector<Progress::Ticket> tickets;
        for (auto& b : buckets) {
          auto* x = static_cast<int32_t*>(b->input());
          for (int64_t i = 0; i < n; ++i) x[i] = static_cast<int32_t>(contribution(c.rank(), i)) + step;
          tickets.push_back(c.start(b, n - step, DType::Int32, Reduction::Sum));
        }
        for (size_t k = 0; k < buckets.size(); ++k) {
          c.wait(tickets[k]);
          const auto* y = static_cast<const int32_t*>(buckets[k]->result());
          if (c.size() > 1)
            for (int64_t i = 0; i < n - step; ++i) wrong += y[i] != sum(c.size(), i) + c.size() * step;
        }
      }
      CHECK(wrong == 0);
    }, a.nodes);
}

void test_operations() {
  for (const Arrangement& a : kArrangements)
    for (Algorithm algorithm : {Algorithm::Auto, Algorithm::Ring})
      on_ranks(a.p, algorithm, 60, [&](Communicator& c) {
        const int p = a.p, me = c.rank();
        for (int64_t n : {0, 5, 40000}) {
          for (int root : {0, p - 1}) {
            std::vector<int64_t> x(static_cast<size_t>(n), me + 1);
            c.reduce(x.data(), n, DType::Int64, Reduction::Sum, root);
            CHECK(me != root || std::all_of(x.begin(), x.end(), [&](int64_t v) { return v == p * (p + 1) / 2; }));
          }
          // rank r gets n + r elements
          std::vector<int64_t> counts, all;
          for (int r = 0; r < p; ++r) counts.push_back(n + r);
          for (int r = 0; r < p; ++r) all.insert(all.end(), static_cast<size_t>(n + r), 100 * r + me);
          std::vector<int64_t> mine(static_cast<size_t>(n + me));
          c.reduce_scatter(all.data(), mine.data(), counts, DType::Int64, Reduction::Sum);
          const int64_t want = 100 * me * p + p * (p - 1) / 2;
          CHECK(std::all_of(mine.begin(), mine.end(), [&](int64_t v) { return v == want; }));
          // rank r sends n * s + r bytes to rank s
          std::vector<size_t> out_sizes, in_sizes;
          std::vector<char> out, expected;
          for (int s = 0; s < p; ++s) {
            out_sizes.push_back(static_cast<size_t>(n * s + me));
            in_sizes.push_back(static_cast<size_t>(n * me + s));
            out.insert(out.end(), out_sizes.back(), static_cast<char>(me * 16 + s));
            expected.insert(expected.end(), in_sizes.back(), static_cast<char>(s * 16 + me));
          }
          std::vector<char> in(expected.size());
          c.alltoallv(out.data(), out_sizes, in.data(), in_sizes);
          CHECK(in == expected);
        }
      }, a.nodes);
}

void test_split() {
  for (const Arrangement& a : {Arrangement{6, {}}, Arrangement{6, {0, 0, 0, 1, 1, 1}}, Arrangement{6, {0, 1, 0, 1, 0, 1}}})
    on_ranks(a.p, Algorithm::Auto, 60, [&](Communicator& c) {
      const auto half = c.split(c.rank() % 2, -c.rank());  // in reverse order
      CHECK(half->size() == 3 && half->rank() == 2 - c.rank() / 2);
      const auto none = c.split(c.rank() == 0 ? -1 : 7, 0);
      CHECK((none == nullptr) == (c.rank() == 0));
      for (int64_t n : {3, 50000}) {
        std::vector<int32_t> x(static_cast<size_t>(n), 1 << c.rank()), y = x;
        half->allreduce(x.data(), n, DType::Int32, Reduction::Sum);
        CHECK(x[0] == (c.rank() % 2 ? 2 + 8 + 32 : 1 + 4 + 16) && x.back() == x[0]);
        c.allreduce(y.data(), n, DType::Int32, Reduction::Sum);
        CHECK(y[0] == 63 && y.back() == 63);
        if (none) {
          std::vector<float> z(static_cast<size_t>(n), 2.0f);
          none->allreduce(z.data(), n, DType::Float, Reduction::Sum);
          CHECK(z.back() == 10.0f);
        }
      }
      auto bucket = half->bucket(4000);
      static_cast<float*>(bucket->input())[999] = static_cast<float>(c.rank());
      half->wait(half->start(bucket, 1000, DType::Float, Reduction::Sum));
      CHECK(static_cast<const float*>(bucket->result())[999] == (c.rank() % 2 ? 9.0f : 6.0f));
      const auto quarter = half->split(half->rank() == 0, 0);
      CHECK(quarter->size() == (half->rank() == 0 ? 1 : 2));
      int32_t one = 1;
      quarter->allreduce(&one, 1, DType::Int32, Reduction::Sum);
      CHECK(one == quarter->size());
    }, a.nodes);
}

void test_nodes_that_differ_are_told() {
  for (int odd : {0, 3}) {
    std::atomic<int> told{0};
    on_ranks(4, Algorithm::Auto, 60, [&](Communicator& c) {
      std::vector<float> x(5000, 1.0f);
      try {
        c.allreduce(x.data(), 5000, DType::Float, c.rank() == odd ? Reduction::Max : Reduction::Sum);
      } catch (const Error& e) {
        told += std::string(e.what()).find("the ranks call different collectives") != std::string::npos;
      }
      c.barrier();  // and the ranks are still in step
    }, {0, 0, 1, 1});
    CHECK(told == 4);
  }
}

void test_an_abort_reaches_other_nodes() {
  std::atomic<int> told{0};
  on_ranks(5, Algorithm::Auto, 60, [&](Communicator& c) {
    c.barrier();
    if (c.rank() == 3) return c.abort("rank 3/5 ended: ValueError: no");
    try {
      const auto bucket = c.bucket(1 << 20);
      for (;;) c.wait(c.start(bucket, 1 << 18, DType::Float, Reduction::Sum));
    } catch (const Error& e) {
      told += std::string(e.what()).find("rank 3/5 ended: ValueError: no") != std::string::npos;
    }
  }, {0, 0, 1, 1, 1});
  CHECK(told == 4);
}

void test_selection() {
  const Selection table({{100, Algorithm::Tree}, {1000, Algorithm::HalvingDoubling}, {2000, Algorithm::Ring}});
  CHECK(table.choose(0) == Algorithm::Tree && table.choose(100) == Algorithm::Tree);
  CHECK(table.choose(101) == Algorithm::HalvingDoubling && table.choose(99999) == Algorithm::Ring);
  CHECK(test::fails(Code::InvalidArgument, "the bytes must ascend", [] {
    Selection({{5, Algorithm::Ring}, {5, Algorithm::Tree}});
  }));
  on_ranks(3, Algorithm::Auto, 60, [&](Communicator& c) {
    CHECK(c.algorithm(1) == Algorithm::OnePass);
    c.set_selection(table);
    CHECK(c.algorithm(1) == Algorithm::Tree);
    int32_t x = 1;
    c.allreduce(&x, 1, DType::Int32, Reduction::Sum);
    CHECK(x == 3 && c.bytes_sent() > 0);
    CHECK(test::fails(Code::InvalidArgument, "hierarchical is not usable", [&] {
      c.allreduce(&x, 1, DType::Int32, Reduction::Sum, Algorithm::Hierarchical);
    }));
  });
}

// As MPI does at times: what a finished send has left behind goes out only when the sender is heard from again.
class LazySends : public Transport {
 public:
  explicit LazySends(std::shared_ptr<Transport> inner) : inner_(std::move(inner)) {}
  const char* name() const override { return "lazy"; }
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Request start_send(int to, int tag, const void* data, size_t bytes) override {
    push();
    kept_.push_back({to, tag, std::string(static_cast<const char*>(data), bytes)});
    return kSent;
  }
  Request start_receive(int from, int tag, void* data, size_t bytes) override {
    return inner_->start_receive(from, tag, data, bytes);
  }
  bool done(Request request) override {
    if (request == kSent) return true;
    push();
    return inner_->done(request);
  }
  void cancel(Request request) override {
    if (request != kSent) inner_->cancel(request);
  }
  std::shared_ptr<Transport> between(const std::vector<int>& ranks, int number) override {
    return inner_->between(ranks, number);
  }
  void announce(const std::string& notice) override { inner_->announce(notice); }
  bool heard(std::string* notice) override {
    push();
    return inner_->heard(notice);
  }

 private:
  static constexpr Request kSent = -1;
  struct Kept {
    int to, tag;
    std::string bytes;
  };
  void push() {
    for (const Kept& k : kept_) inner_->start_send(k.to, k.tag, k.bytes.data(), k.bytes.size());
    kept_.clear();
  }
  std::shared_ptr<Transport> inner_;
  std::vector<Kept> kept_;
};

void test_a_rank_in_a_barrier_of_shared_memory_still_pushes_its_sends() {
  for (Algorithm algorithm : {Algorithm::HalvingDoubling, Algorithm::Ring, Algorithm::Tree}) {
    const auto world = make_loopback_world(2);
    std::vector<std::thread> threads;
    for (int r = 0; r < 2; ++r)
      threads.emplace_back([&, r] {
        CommunicatorOptions options;
        options.timeout_s = 5;
        const auto transport = std::make_shared<LazySends>(loopback_transport(world, r));
        const auto c = std::make_shared<Communicator>(transport, loopback_windows(world, r), options);
        try {
          for (int step = 0; step < 3; ++step) {
            std::vector<int32_t> x(1000, r + 1);
            c->allreduce(x.data(), 1000, DType::Int32, Reduction::Sum, algorithm);  // by messages
            CHECK(x.front() == 3 && x.back() == 3);
            c->barrier();  // in the shared block
          }
        } catch (const Error& e) {
          test::report(false, e.what(), __FILE__, __LINE__);
        }
        c->leave();
      });
    for (auto& t : threads) t.join();
  }
}

}  // namespace

int main() {
  TEST(test_sums);
  TEST(test_sixteen_bit_floats_are_not_summed_in_sixteen_bits);
  TEST(test_bytes_sent_are_what_the_headers_state);
  TEST(test_a_node_sends_the_same_bytes_however_many_ranks_it_has);
  TEST(test_buckets_on_several_nodes);
  TEST(test_operations);
  TEST(test_split);
  TEST(test_nodes_that_differ_are_told);
  TEST(test_an_abort_reaches_other_nodes);
  TEST(test_a_rank_in_a_barrier_of_shared_memory_still_pushes_its_sends);
  TEST(test_selection);
  return rf::test::failures != 0;
}
