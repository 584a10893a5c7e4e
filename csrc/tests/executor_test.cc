// The executor on graphs built by hand, with kernels of its own: results, state, errors; and the cost of a node.
#include "runtime/executor.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "tests/check.h"
#include "tests/graph_writer.h"

using namespace rf;
using namespace rf::test;

namespace {

Kernel add(const Node&) {
  return [](Context& c) {
    const Tensor &a = c.input(0), &b = c.input(1);
    check(a.num_elements() >= b.num_elements(), "[TestAdd] the first input is the larger: ", a.shape(), " and ", b.shape());
    Tensor& y = c.output(0, a.shape());
    const int64_t n = b.num_elements();
    for (int64_t i = 0; i < a.num_elements(); ++i) y.data<float>()[i] = a.data<float>()[i] + b.data<float>()[i % n];
  };
}
// b may be the larger: then a is broadcast
Kernel wide_add(const Node&) {
  return [](Context& c) {
    const Tensor &a = c.input(0), &b = c.input(1);
    const Tensor& large = a.num_elements() >= b.num_elements() ? a : b;
    Tensor& y = c.output(0, large.shape());
    const int64_t na = a.num_elements(), nb = b.num_elements();
    for (int64_t i = 0; i < y.num_elements(); ++i) y.data<float>()[i] = a.data<float>()[i % na] + b.data<float>()[i % nb];
  };
}
Kernel identity(const Node&) {
  return [](Context& c) { c.set_output(0, c.input(0)); };
}
Kernel variable(const Node& node) {
  return [name = node.name, held = std::shared_ptr<Variable>()](Context& c) mutable {
    held = c.resources().find_or_create<Variable>("", name);
    c.set_ref_output(0, *held);
  };
}
Kernel assign(const Node&) {
  return [](Context& c) {
    Tensor value(c.input(1).dtype(), c.input(1).shape());
    std::copy_n(c.input(1).data<float>(), value.num_elements(), value.data<float>());
    c.variable(0).value = value;
    c.set_ref_output(0, c.variable(0));
  };
}
Kernel assign_add(const Node&) {
  return [](Context& c) {
    Tensor& v = c.mutable_input(0);
    for (int64_t i = 0; i < v.num_elements(); ++i) v.data<float>()[i] += c.input(1).data<float>()[i];
    c.set_ref_output(0, c.variable(0));
  };
}
// As many elements as the input's first says: a shape that no plan knows
Kernel sized(const Node&) {
  return [](Context& c) {
    Tensor& y = c.output(0, Shape{static_cast<int64_t>(c.input(0).data<float>()[0])});
    for (int64_t i = 0; i < y.num_elements(); ++i) y.data<float>()[i] = static_cast<float>(i);
  };
}
Kernel nothing(const Node&) {
  return [](Context& c) { c.output(0, c.input(0).shape()); };
}
Kernel out_of_memory(const Node&) {
  return [](Context&) { throw std::bad_alloc(); };
}
RF_KERNEL_ANY("TestAdd", InPlace, add)
RF_KERNEL_ANY("TestWideAdd", InPlace, wide_add)
RF_KERNEL_ANY("TestIdentity", Alias, identity)
RF_KERNEL_ANY("VariableV2Test", None, variable)
RF_KERNEL_ANY("AssignTest", None, assign)
RF_KERNEL_ANY("AssignAddTest", None, assign_add)
RF_KERNEL_ANY("TestSized", None, sized)
RF_KERNEL_ANY("TestNothing", None, nothing)
RF_KERNEL_ANY("TestOutOfMemory", None, out_of_memory)

Tensor vector(const std::vector<float>& values) {
  Tensor t(DType::Float, Shape{static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}
std::vector<float> values(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.num_elements()}; }
using Floats = std::vector<float>;

std::unique_ptr<Executable> build(const Bytes& b, std::shared_ptr<Resources> resources = std::make_shared<Resources>()) {
  return std::make_unique<Executable>(b.data(), b.size(), std::move(resources));
}
Bytes add_node(const std::string& name, const std::string& a, const std::string& b, const std::vector<int64_t>& dims,
               const std::string& op = "TestAdd") {
  return node(name, op, {a, b}, outputs({1}, {dims}));
}
const Bytes kRef = outputs({101}, {{2}});

void feeds_and_fetches_keep_their_order() {
  auto e = build(argument("b", 1, {2}) + argument("a", 0, {2}) + add_node("y", "a", "b", {2}) + result("r1", 1, "a") +
                 result("r0", 0, "y") + result("r2", 2, "y"));
  const Tensor a = vector({1, 2});
  const auto r = e->run({a, vector({10, 20})});
  CHECK(r.size() == 3 && values(r[0]) == Floats({11, 22}) && values(r[1]) == Floats({1, 2}) && values(r[2]) == Floats({11, 22}));
  CHECK(r[0].raw() != r[2].raw() && r[1].raw() != a.raw());  // every result is the caller's own
  CHECK(e->result_dtypes().size() == 3 && e->arguments()[1].name == "b");
}

void an_unused_feed_is_ignored() {
  auto e = build(argument("b", 1, {2}) + result("r", 0, "b"));
  CHECK(values(e->run({Tensor(), vector({3, 4})})[0]) == Floats({3, 4}));
}

void feeds_are_checked() {
  auto e = build(argument("a", 0, {2}) + result("r", 0, "a"));
  CHECK(fails(Code::InvalidArgument, "takes 1 feeds: received 0", [&] { e->run({}); }));
  CHECK(fails(Code::InvalidArgument, "feed 0 ('a') must be float32: received int32",
              [&] { e->run({Tensor(DType::Int32, Shape{2})}); }));
}

void other_shapes_than_planned_compute_the_same() {
  // planned (4) + (4) in place of t; fed so that t is broadcast instead
  auto e = build(argument("a", 0, {4}) + argument("b", 1, {4}) + add_node("t", "a", "a", {4}) +
                 add_node("y", "t", "b", {4}, "TestWideAdd") + result("r", 0, "y"));
  CHECK(e->describe().find("y = TestWideAdd(t, b) -> float32 16 B arena @0 in place of input 0") != std::string::npos);
  CHECK(values(e->run({vector({1, 2}), vector({1, 2, 3, 4})})[0]) == Floats({3, 6, 5, 8}));
  CHECK(values(e->run({vector({1, 2, 3, 4}), vector({0, 0, 0, 1})})[0]) == Floats({2, 4, 6, 9}));
  CHECK(values(e->run({vector(Floats(100, 1)), vector({1})})[0]) == Floats(100, 3));
  CHECK(values(e->run({vector({1, 2, 3, 4}), vector({0, 0, 0, 1})})[0]) == Floats({2, 4, 6, 9}));
}

void unknown_shapes_are_allocated_by_the_run() {
  auto e = build(argument("n", 0, {1}) + node("s", "TestSized", {"n"}, outputs({1}, {{-1}})) +
                 node("i", "TestIdentity", {"s"}, outputs({1}, {{-1}})) + add_node("y", "i", "n", {-1}) + result("r", 0, "y") +
                 result("s0", 1, "s"));
  CHECK(e->arena_bytes() == 0);
  for (int n : {3, 1, 5, 2}) {
    const auto r = e->run({vector({static_cast<float>(n)})});
    CHECK(r[0].dim(0) == n && r[0].data<float>()[n - 1] == static_cast<float>(2 * n - 1));
    CHECK(r[1].dim(0) == n && r[1].data<float>()[n - 1] == static_cast<float>(n - 1));
  }
}

void variables_live_in_resources() {
  auto resources = std::make_shared<Resources>();
  const Bytes var = node("v", "VariableV2Test", {}, kRef);
  auto init = build(argument("x", 0, {2}) + var + node("a", "AssignTest", {"v", "x"}, kRef), resources);
  auto step = build(argument("x", 0, {2}) + var + node("read", "TestIdentity", {"v"}, outputs({1}, {{2}})) +
                        node("up", "AssignAddTest", {"v", "x", "^read"}, kRef) + result("before", 0, "read") + result("after", 1, "up"),
                    resources);
  CHECK(fails(Code::FailedPrecondition, "read|Attempting to use uninitialized value v", [&] { step->run({vector({1, 1})}); }));
  init->run({vector({1, 2})});
  CHECK(init->arena_bytes() == 0 && step->arena_bytes() == 0);  // what lives elsewhere reserves nothing
  auto r = step->run({vector({10, 10})});
  CHECK(values(r[0]) == Floats({1, 2}) && values(r[1]) == Floats({11, 12}));  // the fetch saw the value before the update
  auto shared = std::dynamic_pointer_cast<Variable>(resources->find("", "v"));
  CHECK(shared->value.buffer()->unique());  // a run leaves no reference behind
  resources->reset("");
  CHECK(fails(Code::FailedPrecondition, "uninitialized value v", [&] { step->run({vector({1, 1})}); }));
  init->run({vector({5, 6})});
  CHECK(values(step->run({vector({1, 1})})[1]) == Floats({6, 7}));
}

void an_error_names_its_node_and_leaves_the_executable_usable() {
  auto e = build(argument("a", 0, {2}) + argument("b", 1, {2}) + node("i", "TestIdentity", {"a"}, outputs({1}, {{-1}})) +
                 add_node("sum", "i", "b", {2}) + result("r", 0, "sum"));
  for (int round = 0; round < 3; ++round) {
    CHECK(fails(Code::InvalidArgument, "sum|[TestAdd] the first input is the larger: (1,) and (3,)",
                [&] { e->run({vector({1}), vector({1, 2, 3})}); }));
    CHECK(values(e->run({vector({1, 2}), vector({3, 4})})[0]) == Floats({4, 6}));
  }
  auto oom = build(node("big", "TestOutOfMemory", {}, ""));
  CHECK(fails(Code::Internal, "big|[TestOutOfMemory] out of memory", [&] { oom->run({}); }));
}

void constants_are_never_overwritten() {
  auto e = build(constant("c", {2}, {1, 2}) + add_node("y", "c", "c", {2}) + node("i", "TestIdentity", {"c"}, outputs({1}, {{2}})) +
                 add_node("z", "i", "y", {2}) + result("r", 0, "z") + result("q", 1, "c"));
  for (int round = 0; round < 2; ++round) {
    const auto r = e->run({});
    CHECK(values(r[0]) == Floats({3, 6}) && values(r[1]) == Floats({1, 2}));
  }
}

void denormals_are_flushed_during_a_run_only() {
  auto e = build(argument("a", 0, {1}) + add_node("y", "a", "a", {1}) + result("r", 0, "y"));
  const float denormal = std::numeric_limits<float>::denorm_min();
  CHECK(e->run({vector({denormal})})[0].data<float>()[0] == 0.0f);
  volatile float x = denormal;
  CHECK(x * 2 != 0.0f);
}

void runs_from_many_threads_take_turns() {
  auto e = build(argument("a", 0, {64}) + add_node("t", "a", "a", {64}) + add_node("y", "t", "a", {64}) + result("r", 0, "y"));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&, k] {
      const Tensor a = vector(Floats(64, static_cast<float>(k)));
      for (int i = 0; i < 500; ++i)
        if (values(e->run({a})[0]) != Floats(64, static_cast<float>(3 * k))) ++wrong;
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

void every_node_is_timed() {
  auto e = build(argument("a", 0, {2}) + add_node("y", "a", "a", {2}) + result("r", 0, "y"));
  std::vector<Call> calls;
  CHECK(values(e->run_timed({vector({1, 2})}, calls)[0]) == Floats({2, 4}));
  CHECK(calls.size() == 2 && calls[0].node->name == "y" && calls[1].node->name == "r");
  CHECK(0 <= calls[0].start_ns && calls[0].start_ns <= calls[0].end_ns && calls[0].end_ns <= calls[1].start_ns);
  CHECK(calls[0].outputs.size() == 1 && calls[0].outputs[0].bytes == 8 && calls[0].outputs[0].shape == Shape{2});
}

template <class F>
double best_us(F&& f) {
  double best = 1e9;
  for (int round = 0; round < 20; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) f();
    best = std::min(best, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / 100);
  }
  return best;
}

// Printed, not checked: the machine may be busy.
void cost_of_a_node() {
  const auto chain = [](int nodes) {
    Bytes b = argument("a", 0, {2});
    std::string last = "a";
    for (int i = 0; i < nodes; ++i) {
      const std::string name = "n" + std::to_string(i);
      b += node(name, "TestNothing", {last}, outputs({1}, {{2}}));
      last = name;
    }
    return build(b + result("r", 0, last));
  };
  auto small = chain(1), large = chain(1001);
  const std::vector<Tensor> feeds{vector({1, 2})};
  const double a = best_us([&] { small->run(feeds); }), b = best_us([&] { large->run(feeds); });
  std::printf("     %.3f us a run of one node, %.4f us a further node\n", a, (b - a) / 1000);
}

}  // namespace

int main() {
  TEST(feeds_and_fetches_keep_their_order);
  TEST(an_unused_feed_is_ignored);
  TEST(feeds_are_checked);
  TEST(other_shapes_than_planned_compute_the_same);
  TEST(unknown_shapes_are_allocated_by_the_run);
  TEST(variables_live_in_resources);
  TEST(an_error_names_its_node_and_leaves_the_executable_usable);
  TEST(constants_are_never_overwritten);
  TEST(denormals_are_flushed_during_a_run_only);
  TEST(runs_from_many_threads_take_turns);
  TEST(every_node_is_timed);
  TEST(cost_of_a_node);
  return failures != 0;
}
