// Partitions that run at once, and partial runs: exchanges, errors, cancellation, many runs from many threads.
#include "runtime/partitions.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "runtime/partial_run.h"
#include "tests/check.h"
#include "tests/graph_writer.h"

namespace rf::test {
namespace {

constexpr int kFloat = 1, kInt32 = 3;

Bytes text_attr(const std::string& name, const std::string& value) { return attr(name, bytes(2, value)); }
Bytes ends(const std::string& edge, const std::string& from, const std::string& to) {
  return text_attr("tensor_name", edge) + text_attr("send_device", from) + text_attr("recv_device", to) +
         int_attr("send_device_incarnation", 1);
}
Bytes send(const std::string& edge, const std::string& input, const std::string& from, const std::string& to) {
  return node("send_" + edge, "_Send", {input}, type_attr("T", kFloat) + ends(edge, from, to) + outputs({}, {}));
}
Bytes recv(const std::string& edge, const std::string& from, const std::string& to) {
  return node("recv_" + edge, "_Recv", {}, type_attr("tensor_type", kFloat) + ends(edge, from, to) + outputs({kFloat}, {{4}}));
}
Bytes unary(const std::string& name, const std::string& op, const std::string& x) {
  return node(name, op, {x}, type_attr("T", kFloat) + outputs({kFloat}, {{4}}));
}

GraphDef parsed(const Bytes& graph) { return parse_graph(graph.data(), graph.size()); }

// a: x -> -x, sent; receives its square and gives it negated. b: squares, and gives the square too.
std::unique_ptr<Partitions> there_and_back() {
  const std::vector<std::string> parts = {
      argument("x", 0, {4}) + unary("minus", "Neg", "x") + send("1", "minus", "a", "b") + recv("2", "b", "a") +
          unary("again", "Neg", "recv_2") + result("r", 0, "again"),
      recv("1", "a", "b") + unary("squared", "Square", "recv_1") + send("2", "squared", "b", "a") + result("s", 0, "squared")};
  return std::make_unique<Partitions>(parts, std::vector<std::vector<int>>{{1}, {0}}, std::make_shared<Resources>());
}

Tensor four(float first) {
  Tensor t(DType::Float, Shape({4}));
  for (int i = 0; i < 4; ++i) t.data<float>()[i] = first + static_cast<float>(i);
  return t;
}

bool right(const std::vector<Tensor>& results, float first) {
  bool ok = results.size() == 2;
  for (int i = 0; ok && i < 4; ++i) {
    const float x = first + static_cast<float>(i);
    ok = results[0].data<float>()[i] == x * x && results[1].data<float>()[i] == -x * x;
  }
  return ok;
}

void tensors_go_there_and_back() {
  const auto p = there_and_back();
  for (int i = 0; i < 10; ++i) CHECK(right(p->run({four(static_cast<float>(i))}), static_cast<float>(i)));
}

void many_threads_run_them_at_once() {
  const auto p = there_and_back();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&p, &wrong, k] {
      for (int i = 0; i < 200; ++i) {
        const float first = static_cast<float>(10 * k + i % 7);
        if (!right(p->run({four(first)}), first)) ++wrong;
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

// b picks an element of a constant by a fed index, and sends it to a.
std::unique_ptr<Partitions> picking() {
  const Bytes pick = node("pick", "GatherV2", {"table", "i", "axis"},
                          type_attr("Tparams", kFloat) + type_attr("Tindices", kInt32) + type_attr("Taxis", kInt32) +
                              outputs({kFloat}, {{}}));
  const Bytes axis = node("axis", "Const", {},
                          type_attr("dtype", kInt32) + attr("value", bytes(8, tensor(kInt32, {}, content(raw<int32_t>({0}))))) +
                              outputs({kInt32}, {{}}));
  const std::vector<std::string> parts = {
      recv("1", "b", "a") + result("r", 0, "recv_1"),
      argument("i", 0, {}, kInt32) + constant("table", {3}, {5, 6, 7}) + axis + pick + send("1", "pick", "b", "a")};
  return std::make_unique<Partitions>(parts, std::vector<std::vector<int>>{{0}, {}}, std::make_shared<Resources>());
}

Tensor index(int32_t i) {
  Tensor t(DType::Int32, Shape());
  *t.data<int32_t>() = i;
  return t;
}

void the_first_error_ends_all_parts_and_names_its_node() {
  const auto p = picking();
  for (int i = 0; i < 50; ++i) {
    CHECK(fails(Code::InvalidArgument, "pick|", [&] { p->run({index(9)}); }));
    CHECK(p->run({index(2)})[0].scalar<float>() == 7.0f);
  }
}

// Both wait for what never comes.
std::unique_ptr<Partitions> waiting() {
  const std::vector<std::string> parts = {recv("1", "b", "a") + result("r", 0, "recv_1"),
                                          recv("2", "a", "b") + result("s", 0, "recv_2")};
  return std::make_unique<Partitions>(parts, std::vector<std::vector<int>>{{0}, {1}}, std::make_shared<Resources>());
}

void a_run_that_waits_ends_by_its_deadline_or_from_outside() {
  const auto p = waiting();
  for (int i = 0; i < 3; ++i)
    CHECK(fails(Code::DeadlineExceeded, "20 ms", [&] { p->run({}, {20, nullptr, nullptr, nullptr}); }));
  for (int i = 0; i < 10; ++i) {
    Cancellation cancellation;
    std::thread other([&cancellation, i] {
      std::this_thread::sleep_for(std::chrono::milliseconds(i % 3));
      cancellation.cancel();
    });
    CHECK(fails(Code::Cancelled, "", [&] { p->run({}, {0, &cancellation, nullptr, nullptr}); }));
    other.join();
  }
}

void parts_must_fit_together() {
  const auto resources = std::make_shared<Resources>();
  const std::string part = argument("x", 0, {4}) + result("r", 0, "x");
  CHECK(fails(Code::InvalidArgument, "lists of fetches", [&] { Partitions({part}, {}, resources); }));
  CHECK(fails(Code::InvalidArgument, "places for 2", [&] { Partitions({part}, {{0, 1}}, resources); }));
  CHECK(fails(Code::InvalidArgument, "index 0 of 2", [&] { Partitions({part, part}, {{0}, {0}}, resources); }));
}

void a_partial_run_is_fed_bit_by_bit() {
  const auto e = std::make_shared<Executable>(
      parsed(recv("x", "client", "") + unary("minus", "Neg", "recv_x") + send("r", "minus", "", "client") +
             recv("y", "client", "") +
             node("sum", "AddV2", {"minus", "recv_y"}, type_attr("T", kFloat) + outputs({kFloat}, {{4}})) +
             send("s", "sum", "", "client")),
      std::make_shared<Resources>());
  const auto key = [](const std::string& name, bool in) {
    return (in ? "client;0000000000000001;;" : ";0000000000000001;client;") + name + ";0:0";
  };
  for (int i = 0; i < 20; ++i) {
    PartialRun run([e](const RunOptions& options) { e->run({}, options); });
    run.feed(key("x", true), four(1));
    CHECK(run.fetch({key("r", false)}, {})[0].data<float>()[3] == -4.0f);
    if (i % 2) continue;  // dropped on the way
    run.feed(key("y", true), four(10));
    CHECK(run.fetch({key("s", false)}, {})[0].data<float>()[3] == 9.0f);
    CHECK(fails(Code::InvalidArgument, "does not have value", [&] { run.fetch({"never"}, {}); }));
  }
  PartialRun late([e](const RunOptions& options) { e->run({}, options); });
  CHECK(fails(Code::DeadlineExceeded, "10 ms", [&] { late.fetch({key("r", false)}, {10, nullptr, nullptr, nullptr}); }));
}

}  // namespace
}  // namespace rf::test

int main() {
  using namespace rf::test;
  TEST(tensors_go_there_and_back);
  TEST(many_threads_run_them_at_once);
  TEST(the_first_error_ends_all_parts_and_names_its_node);
  TEST(a_run_that_waits_ends_by_its_deadline_or_from_outside);
  TEST(parts_must_fit_together);
  TEST(a_partial_run_is_fed_bit_by_bit);
  return failures == 0 ? 0 : 1;
}
