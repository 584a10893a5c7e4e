// The collective graph ops on loopback ranks: gradients are written into their bucket and read from its result.
#include "runtime/collective_ops.h"

#include <functional>
#include <thread>

#include "collectives/loopback.h"
#include "runtime/executor.h"
#include "tests/check.h"
#include "tests/graph_writer.h"

using namespace rf;
using namespace rf::test;

namespace {

Bytes text_attr(const std::string& name, const std::string& value) { return attr(name, bytes(2, value)); }

Bytes bucket_attrs(const std::string& op) {
  return int_attr("bucket", 0) + type_attr("T", 1) + int_attr("N", 2) + text_attr("op", op) +
         attr("elements", bytes(1, packed(3, {5, 6})));
}

// y0, y1 = mean over ranks of (-x0, -x1)
Bytes bucket_graph() {
  return argument("x0", 0, {5}) + argument("x1", 1, {2, 3}) +
         node("g0", "Neg", {"x0"}, type_attr("T", 1) + outputs({1}, {{5}})) +
         node("g1", "Neg", {"x1"}, type_attr("T", 1) + outputs({1}, {{2, 3}})) +
         node("reduce", "_BucketReduce", {"g0", "g1"}, bucket_attrs("mean") + outputs({}, {})) +
         node("wait", "_BucketWait", {"^reduce"}, bucket_attrs("mean") + outputs({1, 1}, {{5}, {2, 3}})) +
         node("y", "Neg", {"wait:1"}, type_attr("T", 1) + outputs({1}, {{2, 3}})) +
         result("r0", 0, "wait") + result("r1", 1, "y");
}

void on_ranks(int p, Algorithm algorithm, const std::function<void(int, std::shared_ptr<Resources>)>& body) {
  const auto world = make_loopback_world(p);
  std::vector<std::thread> threads;
  for (int r = 0; r < p; ++r)
    threads.emplace_back([&, r] {
      CommunicatorOptions options;
      options.algorithm = algorithm;
      options.timeout_s = 30;
      auto communicator =
          std::make_shared<Communicator>(loopback_transport(world, r), loopback_windows(world, r), options);
      auto resources = std::make_shared<Resources>();
      set_communicator(*resources, communicator);
      try {
        body(r, resources);
      } catch (const std::exception& e) {
        report(false, e.what(), __FILE__, __LINE__);
      }
      communicator->leave();
    });
  for (auto& t : threads) t.join();
}

void buckets_are_pinned_and_averaged(Algorithm algorithm) {
  on_ranks(3, algorithm, [&](int rank, std::shared_ptr<Resources> resources) {
    const Bytes graph = bucket_graph();
    Executable first(graph.data(), graph.size(), resources), second(graph.data(), graph.size(), resources);
    std::string plan = first.describe();
    size_t pinned = 0;
    for (size_t at = plan.find("pinned"); at != std::string::npos; at = plan.find("pinned", at + 1)) ++pinned;
    CHECK(pinned >= 4);  // g0, g1 and both results
    for (int step = 0; step < 10; ++step) {
      std::vector<Tensor> feeds{Tensor(DType::Float, {5}), Tensor(DType::Float, {2, 3})};
      for (Tensor& t : feeds)
        for (int64_t i = 0; i < t.num_elements(); ++i) t.data<float>()[i] = static_cast<float>((rank + 1) * i + step);
      const auto results = (step % 2 ? first : second).run(feeds);
      for (int64_t i = 0; i < 5; ++i) CHECK(results[0].data<float>()[i] == static_cast<float>(-2 * i - step));
      for (int64_t i = 0; i < 6; ++i) CHECK(results[1].data<float>()[i] == static_cast<float>(2 * i + step));
    }
  });
}

void single_tensor_ops() {
  on_ranks(3, Algorithm::Auto, [](int rank, std::shared_ptr<Resources> resources) {
    const auto reduce = [](const std::string& final) {
      return type_attr("T", 1) + int_attr("group_size", 3) + int_attr("group_key", 1) + int_attr("instance_key", 1) +
             text_attr("merge_op", "Add") + text_attr("final_op", final) + outputs({1}, {{2}});
    };
    const Bytes graph = argument("x", 0, {2}) + argument("rows", 1, {-1, 2}) +
                        node("sum", "CollectiveReduce", {"x"}, reduce("Id")) +
                        node("mean", "CollectiveReduce", {"x", "^sum"}, reduce("Div")) +
                        node("bcast", "CollectiveBcast", {"x", "^mean"},
                             type_attr("T", 1) + int_attr("root", 2) + outputs({1}, {{2}})) +
                        node("gather", "CollectiveGather", {"rows", "^bcast"},
                             type_attr("T", 1) + outputs({1}, {{-1, 2}})) +
                        result("r0", 0, "sum") + result("r1", 1, "mean") + result("r2", 2, "bcast") +
                        result("r3", 3, "gather");
    Executable executable(graph.data(), graph.size(), resources);
    Tensor x(DType::Float, {2}), rows(DType::Float, {rank, 2});
    x.data<float>()[0] = static_cast<float>(rank);
    x.data<float>()[1] = 10.0f * static_cast<float>(rank + 1);
    for (int64_t i = 0; i < rows.num_elements(); ++i) rows.data<float>()[i] = static_cast<float>(rank);
    const auto r = executable.run({x, rows});
    CHECK(r[0].data<float>()[0] == 3 && r[0].data<float>()[1] == 60);
    CHECK(r[1].data<float>()[0] == 1 && r[1].data<float>()[1] == 20);
    CHECK(r[2].data<float>()[0] == 2 && r[2].data<float>()[1] == 30);
    CHECK(r[3].shape() == Shape({3, 2}) && r[3].data<float>()[1] == 1 && r[3].data<float>()[5] == 2);
  });
}

void without_a_communicator_the_error_says_what_to_do() {
  const Bytes graph = bucket_graph();
  Executable executable(graph.data(), graph.size(), std::make_shared<Resources>());
  CHECK(fails(Code::FailedPrecondition, "has no communicator", [&] {
    executable.run({Tensor(DType::Float, {5}), Tensor(DType::Float, {2, 3})});
  }));
}

void buckets_by_one_pass() { buckets_are_pinned_and_averaged(Algorithm::OnePass); }
void buckets_by_ring() { buckets_are_pinned_and_averaged(Algorithm::Ring); }

}  // namespace

int main() {
  TEST(buckets_by_one_pass);
  TEST(buckets_by_ring);
  TEST(single_tensor_ops);
  TEST(without_a_communicator_the_error_says_what_to_do);
  return failures != 0;
}
