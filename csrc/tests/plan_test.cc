// The memory planner: no two live blocks overlap, on random lifetimes and on random graphs that really run.
#include "runtime/plan.h"

#include <algorithm>
#include <map>
#include <random>

#include "runtime/executor.h"
#include "runtime/memory.h"
#include "runtime/pinning.h"
#include "tests/check.h"
#include "tests/graph_writer.h"

using namespace rf;
using namespace rf::test;

namespace {

// out[i] = 1 + the sum of all inputs' element i: a wrong reuse of memory changes the numbers
Kernel mix(const Node&) {
  return [](Context& c) {
    Tensor& y = c.output(0, c.input(0).shape());
    for (int64_t i = 0; i < y.num_elements(); ++i) {
      float sum = 1;
      for (int k = 0; k < c.num_inputs(); ++k) sum += c.input(k).data<float>()[i];
      y.data<float>()[i] = 0.5f * sum;
    }
  };
}
Kernel same(const Node&) {
  return [](Context& c) { c.set_output(0, c.input(0)); };
}
// Two outputs, written one after the other
Kernel both(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    for (int k = 0; k < 2; ++k) {
      Tensor& y = c.output(k, x.shape());
      for (int64_t i = 0; i < y.num_elements(); ++i) y.data<float>()[i] = x.data<float>()[i] + static_cast<float>(k);
    }
  };
}
template <class T>
Kernel typed(const Node&) {
  return [](Context& c) { c.output(0, Shape{4}); };
}
RF_KERNEL_ANY("TestMix", None, mix)
RF_KERNEL_ANY("TestMixInPlace", InPlace, mix)
RF_KERNEL_ANY("TestSame", Alias, same)
RF_KERNEL_ANY("TestBoth", None, both)
RF_KERNEL("TestTyped", typed, float, int32_t)

GraphDef parse(const Bytes& b) { return parse_graph(b.data(), b.size()); }

bool live_blocks_overlap(const std::vector<Block>& blocks, const Layout& layout) {
  for (size_t a = 0; a < blocks.size(); ++a) {
    if (layout.offsets[a] % 64 != 0 || layout.offsets[a] + blocks[a].bytes > layout.bytes) return true;
    for (size_t b = 0; b < a; ++b) {
      const bool together = blocks[a].first <= blocks[b].last && blocks[b].first <= blocks[a].last;
      const bool apart = layout.offsets[a] + blocks[a].bytes <= layout.offsets[b] ||
                         layout.offsets[b] + blocks[b].bytes <= layout.offsets[a];
      if (together && !apart) return true;
    }
  }
  return false;
}

void live_blocks_never_overlap() {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<Block> blocks(random() % 60);
    size_t live_peak = 0;
    for (Block& b : blocks) {
      b.first = static_cast<int>(random() % 40);
      b.last = b.first + static_cast<int>(random() % 15);
      b.bytes = random() % 5 == 0 ? random() % 8 : random() % 5000;
    }
    for (int t = 0; t < 60; ++t) {
      size_t live = 0;
      for (const Block& b : blocks)
        if (b.first <= t && t <= b.last) live += round_up(std::max(b.bytes, size_t{1}));
      live_peak = std::max(live_peak, live);
    }
    const Layout layout = place(blocks);
    CHECK(!live_blocks_overlap(blocks, layout));
    CHECK(layout.bytes >= live_peak && layout.bytes <= 2 * live_peak);
  }
}

void blocks_that_never_meet_share_memory() {
  const Layout layout = place({{100, 0, 1}, {100, 2, 3}, {100, 4, 5}});
  CHECK(layout.bytes == 128);
  CHECK(place({}).bytes == 0);
}

void an_arena_is_aligned() {
  CHECK(reinterpret_cast<uintptr_t>(Arena(100).data()) % 64 == 0);
  Arena big(size_t{5} << 20);
  CHECK(reinterpret_cast<uintptr_t>(big.data()) % (2 << 20) == 0);
  big.data()[big.bytes() - 1] = 1;
  big.data()[0] = 1;
  big.discard();
  CHECK(big.data()[0] == 0);  // other pages at the same address
  big = Arena();
  CHECK(big.data() == nullptr);
}

// A random graph of the test ops over vectors of `n`; `name(i)` are its tensors, every one fetched with some probability.
struct RandomGraph {
  Bytes bytes;
  std::vector<std::vector<float>> expected;  // by _Retval index

  RandomGraph(std::mt19937& random, int nodes) {
    const size_t half = 1 + random() % 20, n = 2 * half;
    const std::vector<std::vector<int64_t>> shapes{{static_cast<int64_t>(n)}};
    std::vector<std::string> names{"x", "c"};
    std::vector<std::vector<float>> values(2, std::vector<float>(n));
    for (size_t i = 0; i < n; ++i) {
      values[0][i] = static_cast<float>(i);
      values[1][i] = static_cast<float>(2 * i + 1);
    }
    bytes = argument("x", 0, shapes[0]) + constant("c", shapes[0], values[1]);
    Bytes results;
    for (int k = 0; k < nodes; ++k) {
      const std::string name = "n" + std::to_string(k);
      // mostly recent inputs, so that lifetimes end
      const auto pick = [&] {
        return random() % 3 ? names.size() - 1 - random() % std::min<size_t>(4, names.size()) : random() % names.size();
      };
      const size_t a = pick(), b = pick();
      const uint32_t kind = random() % 12;
      // a shape that is not known beforehand now and then
      const auto outs = [&](int count) {
        const std::vector<int64_t> dims = random() % 8 == 0 ? std::vector<int64_t>{-1} : shapes[0];
        return outputs(std::vector<int64_t>(static_cast<size_t>(count), 1),
                       std::vector<std::vector<int64_t>>(static_cast<size_t>(count), dims));
      };
      if (kind < 2) {
        bytes += node(name, "TestSame", {names[a]}, outs(1));
        values.push_back(values[a]);
      } else if (kind < 3) {
        bytes += node(name, "TestBoth", {names[a]}, outs(2));
        names.push_back(name + ":1");
        values.push_back(values[a]);
        std::vector<float> first = values[a];
        for (float& v : values.back()) v += 1;
        values.push_back(first);
      } else if (kind >= 10) {  // halves, one of which is changed before they are joined again
        const Bytes axis = type_attr("T", 1) + int_attr("axis", 0);
        const std::vector<std::vector<int64_t>> halves(2, {static_cast<int64_t>(half)});
        const std::string changed = random() % 3 ? name + "h" : name + "s";
        bytes += node(name + "s", "_SplitRows", {names[a]}, axis + outputs({1, 1}, halves)) +
                 node(name + "h", "TestMixInPlace", {name + "s", name + "s:1"}, outputs({1}, {halves[0]})) +
                 node(name, "_JoinRows", {changed, random() % 3 ? name + "s:1" : name + "h"}, axis + outs(1));
        const bool second = bytes.find(name + "s:1", bytes.rfind("_JoinRows")) != Bytes::npos;
        std::vector<float> joined(n);
        for (size_t i = 0; i < half; ++i) {
          const float mixed = 0.5f * (1 + values[a][i] + values[a][half + i]);
          joined[i] = changed == name + "h" ? mixed : values[a][i];
          joined[half + i] = second ? values[a][half + i] : mixed;
        }
        values.push_back(joined);
      } else {
        bytes += node(name, kind < 5 ? "TestMix" : "TestMixInPlace", {names[a], names[b]}, outs(1));
        std::vector<float> mixed(n);
        for (size_t i = 0; i < n; ++i) mixed[i] = 0.5f * (1 + values[a][i] + values[b][i]);
        values.push_back(mixed);
      }
      names.push_back(name);
      if (random() % 6 == 0 || k == nodes - 1) {
        const size_t f = random() % names.size();
        results += result("r" + std::to_string(expected.size()), static_cast<int64_t>(expected.size()), names[f]);
        expected.push_back(values[f]);
      }
    }
    // fetches that come late in the graph, some of them moved to the front by the order
    bytes += results;
  }
};

void random_graphs_compute_the_same_with_planned_memory() {
  std::mt19937 random(7);
  int in_place = 0;
  for (int round = 0; round < 200; ++round) {
    const RandomGraph g(random, 5 + static_cast<int>(random() % 60));
    Executable executable(parse(g.bytes), std::make_shared<Resources>());
    const std::string text = executable.describe();
    for (size_t at = 0; (at = text.find("in place", at)) != std::string::npos; ++at) ++in_place;
    const size_t n = g.expected[0].size();
    Tensor x(DType::Float, Shape{static_cast<int64_t>(n)});
    for (int repeat = 0; repeat < 2; ++repeat) {
      for (size_t i = 0; i < n; ++i) x.data<float>()[i] = static_cast<float>(i);
      const std::vector<Tensor> results = executable.run({x});
      CHECK(results.size() == g.expected.size());
      for (size_t r = 0; r < results.size(); ++r)
        CHECK(std::equal(g.expected[r].begin(), g.expected[r].end(), results[r].data<float>()));
      for (size_t i = 0; i < n; ++i) CHECK(x.data<float>()[i] == static_cast<float>(i));  // a feed is never written
    }
  }
  CHECK(in_place > 500);
}

void parts_and_what_is_joined_share_memory() {
  const Bytes axis = type_attr("T", 1) + int_attr("axis", 0), whole = outputs({1}, {{32}}), part = outputs({1}, {{16}});
  const Bytes two = axis + outputs({1, 1}, {{16}, {16}});
  const auto planned = [](const Bytes& b) {
    static Resources resources;
    return make_plan(parse(b), resources);
  };
  const auto node_of = [](const Plan& plan, const char* name) -> const PlanNode& {
    return *std::find_if(plan.nodes.begin(), plan.nodes.end(), [&](const PlanNode& p) { return p.node.name == name; });
  };
  const Bytes head = argument("x", 0, {32}) + argument("y", 1, {16}) + node("a", "TestMix", {"x"}, whole) +
                     node("s", "_SplitRows", {"a"}, two);
  const Bytes joined = head + node("p", "TestMixInPlace", {"s"}, part) + node("q", "TestMixInPlace", {"s:1"}, part) +
                       node("j", "_JoinRows", {"p", "y"}, axis + whole) + result("r", 0, "j") + result("t", 1, "q");
  const Plan plan = planned(joined);
  const Value &p = plan.values[static_cast<size_t>(node_of(plan, "p").first_output)],
              &q = plan.values[static_cast<size_t>(node_of(plan, "q").first_output)],
              &a = plan.values[static_cast<size_t>(node_of(plan, "a").first_output)],
              &j = plan.values[static_cast<size_t>(node_of(plan, "j").first_output)];
  CHECK(p.storage == j.storage && p.offset == 0);                           // where it belongs
  CHECK(q.storage == a.storage && q.offset == 64);                          // in place of the part
  CHECK(plan.arena_bytes == 256);                                           // nothing twice
  const auto in_place = [&](const Bytes& more) { return node_of(planned(head + more), "q").in_place; };
  const Bytes q_node = node("q", "TestMixInPlace", {"s:1"}, part) + result("t", 0, "q");
  CHECK(in_place(q_node) == 0);
  CHECK(in_place(q_node + result("u", 1, "s:1")) == 0);  // fetched before
  CHECK(in_place(q_node + node("u", "TestMix", {"s:1", "q"}, part) + result("v", 1, "u")) == -1);
  CHECK(in_place(q_node + node("u", "TestMix", {"a"}, whole) + result("v", 1, "u")) == -1);
  CHECK(in_place(q_node + node("b", "TestSame", {"a"}, whole) + node("u", "TestMix", {"b"}, whole) + result("v", 1, "u")) == -1);
  CHECK(in_place(node("z", "_SplitRows", {"a"}, two) + q_node + result("v", 1, "z")) == -1);  // the parts overlap
}

void a_chain_in_place_takes_one_buffer() {
  Bytes b = argument("x", 0, {16});
  std::string last = "x";
  for (int i = 0; i < 10; ++i) {
    const std::string name = "n" + std::to_string(i);
    b += node(name, "TestMixInPlace", {last}, outputs({1}, {{16}}));
    last = name;
  }
  Resources resources;
  const Plan plan = make_plan(parse(b + result("r", 0, last)), resources);
  CHECK(plan.arena_bytes == 64);
  CHECK(plan.nodes[1].in_place == -1);  // the feed is not ours
  CHECK(plan.nodes[2].in_place == 0);
}

void nothing_is_overwritten_that_is_read_later() {
  const Bytes b = argument("x", 0, {16}) + node("a", "TestMix", {"x"}, outputs({1}, {{16}})) +
                  node("alias", "TestSame", {"a"}, outputs({1}, {{16}})) +
                  node("b", "TestMixInPlace", {"a"}, outputs({1}, {{16}})) +
                  node("c", "TestMixInPlace", {"alias", "b"}, outputs({1}, {{16}})) + result("r", 0, "c");
  Resources resources;
  const Plan plan = make_plan(parse(b), resources);
  for (const PlanNode& p : plan.nodes) {
    if (p.node.name == "b") CHECK(p.in_place == -1);
    if (p.node.name == "c") CHECK(p.in_place == 0);
  }
}

struct TestPinning : Resource, Pinning {
  std::map<std::string, std::vector<void*>> addresses;
  Pinned inputs(const Node& n) override { return {addresses[n.name], nullptr}; }
  Pinned outputs(const Node& n) override { return {addresses[n.name], nullptr}; }
};

void gradients_are_placed_in_their_bucket() {
  const Bytes one = outputs({1}, {{4}});
  const Bytes elements = type_attr("T", 1) + attr("elements", bytes(1, packed(3, {4, 4, 4, 4})));
  // g0: alone; g1: through an alias; g2: read twice; the last: a feed
  const Bytes b = argument("x", 0, {4}) + node("g0", "TestMix", {"x"}, one) + node("h1", "TestMix", {"x"}, one) +
                  node("g1", "TestSame", {"h1"}, one) + node("g2", "TestMix", {"x"}, one) +
                  node("other", "TestMixInPlace", {"g2", "g0x"}, one) + node("g0x", "TestMix", {"x"}, one) +
                  node("reduce", "_BucketReduce", {"g0", "g1", "g2", "x"}, elements + int_attr("bucket", 0)) +
                  node("wait", "_BucketWait", {"^reduce"}, elements + int_attr("bucket", 0) + one) +
                  node("y", "TestMixInPlace", {"wait"}, one) + result("r", 0, "y") + result("s", 1, "other");
  Resources resources;
  alignas(64) static float memory[5][16];
  resources.find_or_create<Resource>(kCommunicatorContainer, "communicator", [&] {
    auto pinning = std::make_shared<TestPinning>();
    pinning->addresses["reduce"] = {memory[0], memory[1], memory[2], memory[3]};
    pinning->addresses["wait"] = {memory[4]};
    return pinning;
  });
  const Plan plan = make_plan(parse(b), resources);
  std::map<std::string, Storage> at;
  for (const PlanNode& p : plan.nodes)
    if (p.num_outputs) at[p.node.name] = plan.storages[static_cast<size_t>(plan.values[static_cast<size_t>(p.first_output)].storage)];
  CHECK(at["g0"].place == Place::Pinned && at["g0"].address == memory[0]);
  CHECK(at["h1"].place == Place::Pinned && at["h1"].address == memory[1]);
  CHECK(at["g2"].place == Place::Arena && at["x"].place == Place::Feed);
  CHECK(at["wait"].place == Place::Pinned && at["wait"].address == memory[4]);
  CHECK(at["y"].place == Place::Arena);  // a result is not overwritten
}

void first_values_become_their_variables_memory() {
  const Bytes one = outputs({1}, {{16}}), ref = outputs({101}, {{16}}), shared = attr("shared_name", bytes(2, "w"));
  // a: read by its Assign alone; b: fetched; c: read twice; f: a feed; w: of another name
  Bytes b = argument("x", 0, {16});
  for (const char* name : {"a", "b", "c", "f", "w"})
    b += node(std::string("v_") + name, "VariableV2", {}, name[0] == 'w' ? ref + shared : ref);
  for (const char* name : {"a", "b", "c", "w"}) b += node(name, "TestMix", {"x"}, one);
  b += node("as_a", "Assign", {"v_a", "a"}, ref) + node("as_b", "Assign", {"v_b", "b"}, ref) +
       node("as_c", "Assign", {"v_c", "c"}, ref) + node("c2", "TestMixInPlace", {"c"}, one) +
       node("as_f", "Assign", {"v_f", "x"}, ref) + node("as_w", "Assign", {"v_w", "w"}, ref) + result("r", 0, "b") +
       result("s", 1, "c2");
  Resources resources;
  const auto first = [&](const char* name) {
    const Plan plan = make_plan(parse(b), resources);
    CHECK(plan.initialises);
    for (const PlanNode& p : plan.nodes)
      if (p.node.name == name) return p.first_value;
    return false;
  };
  CHECK(first("as_a") && first("as_w"));
  CHECK(!first("as_b") && !first("as_c") && !first("as_f"));
  resources.find_or_create<Variable>("", "v_a");
  CHECK(!first("as_a") && first("as_w"));  // a variable that exists keeps its memory
  resources.find_or_create<Variable>("", "w");
  CHECK(!first("as_w"));
}

void missing_kernels_are_named() {
  Resources resources;
  const auto refused = [&](const Bytes& b, Code code, const char* part) {
    return fails(code, part, [&] { make_plan(parse(b), resources); });
  };
  CHECK(refused(node("a", "TestTyped", {}, type_attr("T", 2)), Code::Unimplemented,
                "a|[TestTyped] there is no kernel for float64 (attr T of node 'a'), only for float32, int32"));
  CHECK(refused(node("a", "NoSuchOp", {}), Code::Unimplemented, "a|[NoSuchOp] there is no kernel of this op (node 'a')"));
  CHECK(refused(node("a", "TestTyped", {}), Code::InvalidArgument, "'a' has no attr 'T'"));
  CHECK(refused(node("p", "Placeholder", {}, type_attr("dtype", 1)), Code::InvalidArgument, "You must feed a value for placeholder tensor 'p'"));
  CHECK(refused(constant("c", {}, {1}) + node("a", "TestMix", {"c:1"}), Code::InvalidArgument,
                "node 'a' (TestMix) reads 'c:1', but 'c' (Const) has 1 outputs"));
  CHECK(refused(argument("x", 0, {}) + argument("y", 0, {}), Code::InvalidArgument, "indices are unique"));
  CHECK(refused(argument("x", int64_t{1} << 40, {}), Code::InvalidArgument, "an index lies in"));
  CHECK(refused(argument("x", 0, {}) + result("r", 1, "x"), Code::InvalidArgument, "without gaps"));
  CHECK(refused(node("c", "Const", {}, type_attr("dtype", 21) + attr("value", bytes(8, tensor(21, {}, bytes(8, "s"))))),
                Code::Unimplemented, "c|[Const] node 'c' holds a tensor of a dtype that the runtime does not have (variant)"));
}

void forged_shapes_reserve_nothing() {
  Resources resources;
  const int64_t huge = int64_t{1} << 60;
  const Bytes b = argument("x", 0, {4}) + node("a", "TestMix", {"x"}, outputs({1}, {{huge, huge}}));
  CHECK(make_plan(parse(b), resources).arena_bytes == 0);
}

}  // namespace

int main() {
  // only planned here, not run; the collectives layer has the real ones
  for (const char* op : {"_BucketReduce", "_BucketWait"})
    if (!find_kernel(op, DType::Float)) Registration(op, "", Sharing::None, {{DType::Invalid, &same}});
  TEST(live_blocks_never_overlap);
  TEST(blocks_that_never_meet_share_memory);
  TEST(an_arena_is_aligned);
  TEST(random_graphs_compute_the_same_with_planned_memory);
  TEST(parts_and_what_is_joined_share_memory);
  TEST(a_chain_in_place_takes_one_buffer);
  TEST(nothing_is_overwritten_that_is_read_later);
  TEST(gradients_are_placed_in_their_bucket);
  TEST(first_values_become_their_variables_memory);
  TEST(missing_kernels_are_named);
  TEST(forged_shapes_reserve_nothing);
  return failures != 0;
}
