// Damaged graphs: whatever the bytes, reading, planning and running them ends in a result or in an rf::Error.
//
// As it stands a test: a fixed number of random mutations of a graph that uses every construct, and of
// loops. Usage:
//   fuzz_wire [mutations [seed]]
// Built with -DRF_LIBFUZZER -fsanitize=fuzzer it is a libFuzzer target instead.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "runtime/dataflow_plan.h"
#include "runtime/executor.h"
#include "runtime/plan.h"
#include "tests/flow_graphs.h"

using namespace rf;
using namespace rf::test;

namespace {

Kernel sum(const Node& node) {
  const float scale = node.attr<float>("scale", 1.0f);
  return [scale](Context& c) {
    check(c.num_inputs() > 0 && c.num_outputs() > 0 && c.output_dtype(0) == DType::Float, "[FuzzSum] float32 in and out");
    const Shape shape = c.input(0).shape();
    for (int k = 0; k < c.num_inputs(); ++k)
      check(c.input(k).dtype() == DType::Float && c.input(k).shape() == shape, "[FuzzSum] shapes differ");
    Tensor& y = c.output(0, shape);
    for (int64_t i = 0; i < y.num_elements(); ++i) {
      float total = 0;
      for (int k = 0; k < c.num_inputs(); ++k) total += c.input(k).data<float>()[i];
      y.data<float>()[i] = scale * total;
    }
  };
}
Kernel pass(const Node&) {
  return [](Context& c) {
    check(c.num_inputs() > 0 && c.num_outputs() > 0, "[FuzzPass] takes an input");
    c.set_output(0, c.input(0));
  };
}
RF_KERNEL_ANY("FuzzSum", InPlace, sum)
RF_KERNEL_ANY("FuzzPass", Alias, pass)

Bytes seed_graph() {
  const Bytes one = outputs({1}, {{2, 3}});
  return bytes(4, number(1, 1087)) + argument("x", 0, {2, 3}) + constant("c", {2, 3}, {1, 2, 3, 4, 5, 6}) +
         node("zeros", "Const", {}, type_attr("dtype", 1) + attr("value", bytes(8, tensor(1, {2, 3}, real(5, 2)))) + one) +
         node("ints", "Const", {}, type_attr("dtype", 9) + attr("value", bytes(8, tensor(9, {4}, packed(10, {1, -1}))))) +
         node("flags", "Const", {}, type_attr("dtype", 10) + attr("value", bytes(8, tensor(10, {2}, content("\x01\x02"))))) +
         node("a", "FuzzSum", {"x", "c"}, one + attr("scale", real(4, 0.5f))) +
         node("b", "FuzzSum", {"a", "zeros", "^flags"}, one + attr("strings", bytes(1, bytes(2, "s") + bytes(2, "t")))) +
         node("p", "FuzzPass", {"b:0"}, one + attr("f", bytes(10, bytes(1, "function")))) +
         node("y", "FuzzSum", {"p", "b"}, one + attr("list", bytes(1, packed(3, {1, 2, 3})))) +
         node("group", "NoOp", {"^y", "^ints"}, key(30, 3) + number(1, 2) + key(30, 4)) + result("r", 0, "y") + result("s", 1, "c");
}

// What became of the bytes: 0 refused by the reader, 1 by the planner, 2 by the run, 3 ran.
int try_graph(const uint8_t* data, size_t size) {
  WireLimits limits;
  limits.expansion_bytes = 1 << 20;
  int stage = 0;
  try {
    GraphDef graph = parse_graph(data, size, limits);
    stage = 1;
    Resources resources;
    // forged shapes may ask for any arena: that much is refused here so that the loop stays quick
    if (!needs_dataflow(graph.nodes) && make_plan(graph, resources).arena_bytes > size_t{1} << 24) return stage;
    Executable executable(std::move(graph), std::make_shared<Resources>());
    executable.describe();
    stage = 2;
    std::vector<Tensor> feeds;
    for (const Argument& a : executable.arguments()) {
      Shape shape;
      if (a.shape.fully_known() && a.shape.dims.size() <= Shape::kMaxRank)
        for (int64_t d : a.shape.dims) shape.add(d > 8 ? 8 : d);
      if (size_of(a.dtype) == 0 || shape.num_elements() > 1 << 16) return stage;
      feeds.emplace_back(a.dtype, shape);
      std::memset(feeds.back().raw(), 0, feeds.back().bytes());
    }
    RunOptions options;
    options.timeout_ms = 50;  // a damaged loop need not end
    executable.run(feeds, options);
    stage = 3;
  } catch (const Error&) {
  }
  return stage;
}

// `keep_size`: only changes that leave all lengths as they are, so that the damage gets past the reader.
void mutate(Bytes& b, std::mt19937& random, bool keep_size) {
  const auto at = [&] { return b.empty() ? 0 : random() % b.size(); };
  static const uint8_t odd[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x0a, 0x12};
  switch (random() % (keep_size ? 2 : 7)) {
    case 0: if (!b.empty()) b[at()] ^= static_cast<char>(1 << random() % 8); break;
    case 1: if (!b.empty()) b[at()] = static_cast<char>(random() % 2 ? odd[random() % sizeof odd] : b[at()]); break;
    case 2: b.resize(at()); break;
    case 3: b.insert(at(), 1, static_cast<char>(random())); break;
    case 4: b.erase(at(), random() % 4); break;
    case 5: {  // a piece again, elsewhere
      const Bytes piece = b.substr(at(), random() % 64);
      b.insert(at(), piece);
      break;
    }
    default: b.insert(at(), varint(uint64_t{random()} << (random() % 33))); break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try_graph(data, size);
  return 0;
}

#ifndef RF_LIBFUZZER
int main(int argc, char** argv) {
  const long mutations = argc > 1 ? std::atol(argv[1]) : 100000;
  std::mt19937 random(argc > 2 ? static_cast<uint32_t>(std::atol(argv[2])) : 1);
  const Bytes seeds[] = {seed_graph(), loop(4), nested(), loop_in_cond()};
  long ended[4] = {};
  const auto attempt = [&](const Bytes& b) {
    // its own block of exactly this size, so that a sanitizer sees a read past the end
    std::vector<uint8_t> exact(b.begin(), b.end());
    ++ended[try_graph(exact.data(), exact.size())];
  };
  for (const Bytes& seed : seeds) attempt(seed);
  if (ended[3] != 4) {
    std::fprintf(stderr, "a seed graph does not run\n");
    return 1;
  }
  for (const Bytes& seed : seeds)
    for (size_t n = 0; n < seed.size(); ++n) attempt(seed.substr(0, n));
  for (long i = 0; i < mutations; ++i) {
    Bytes b = seeds[i % 8 == 0 ? 1 + i / 8 % 3 : 0];
    for (uint32_t k = 1 + random() % 4; k > 0; --k) mutate(b, random, i % 4 != 0 || i % 8 == 0);
    attempt(b);
  }
  std::printf("%ld refused by the reader, %ld by the planner, %ld by the run, %ld ran\n", ended[0], ended[1], ended[2], ended[3]);
  return 0;
}
#endif
