// The reader of GraphDef bytes: what it takes, and what it refuses.
#include "runtime/wire.h"

#include "runtime/topology.h"
#include "tests/check.h"
#include "tests/graph_writer.h"

using namespace rf;
using namespace rf::test;

namespace {

GraphDef parse(const Bytes& b, const WireLimits& limits = {}) { return parse_graph(b.data(), b.size(), limits); }

Node parse_attrs(const Bytes& attrs) { return parse(node("n", "Op", {}, attrs)).nodes.at(0); }

Tensor parse_tensor(const Bytes& proto) { return parse_attrs(attr("value", bytes(8, proto))).attr<Tensor>("value"); }

void node_fields_are_read() {
  const GraphDef g = parse(bytes(1, bytes(1, "a") + bytes(2, "Add") + bytes(3, "x") + bytes(3, "y:1") + bytes(3, "^c") +
                                        bytes(4, "/cpu:0")) +
                           bytes(4, number(1, 1087) + number(2, 12)));
  CHECK(g.nodes.size() == 1 && g.producer == 1087 && g.min_consumer == 12);
  const Node& n = g.nodes[0];
  CHECK(n.name == "a" && n.op == "Add" && n.device == "/cpu:0");
  CHECK(n.inputs == std::vector<std::string>{"x", "y:1", "^c"});
}

void every_attr_type_is_read() {
  const Node n = parse_attrs(attr("s", bytes(2, "text")) + attr("i", number(3, -7)) + attr("f", real(4, 1.5f)) +
                             attr("b", number(5, 1)) + attr("zero", number(3, 0)) + attr("type", number(6, 101)) +
                             attr("shape", bytes(7, shape({2, -1}))) + attr("none", "") +
                             attr("rank", bytes(7, number(3, 1))) + attr("func", bytes(10, bytes(1, "f"))));
  CHECK(n.attr<std::string>("s") == "text");
  CHECK(n.attr<int64_t>("i") == -7 && n.attr<int64_t>("zero") == 0);
  CHECK(n.attr<float>("f") == 1.5f && n.attr<bool>("b"));
  CHECK(n.attr<DType>("type") == DType::Float);  // a ref type is its value type
  CHECK(n.attr<PartialShape>("shape").dims == std::vector<int64_t>{2, -1});
  CHECK(n.attr<PartialShape>("rank").unknown_rank);
  CHECK(std::holds_alternative<std::monostate>(n.attrs.at("none")));
  CHECK(std::holds_alternative<std::monostate>(n.attrs.at("func")));
}

void lists_are_read_packed_and_unpacked() {
  const Node n = parse_attrs(attr("packed", bytes(1, packed(3, {1, -2, 300}))) +
                             attr("unpacked", bytes(1, number(3, 1) + number(3, -2) + packed(3, {300}))) +
                             attr("types", bytes(1, packed(6, {1, 103}))) + attr("_output_dtypes", bytes(1, packed(6, {101}))) +
                             attr("floats", bytes(1, bytes(4, raw<float>({1, 2})) + real(4, 3))) +
                             attr("strings", bytes(1, bytes(2, "a") + bytes(2, ""))) +
                             attr("bools", bytes(1, packed(5, {1, 0}))) + attr("empty", bytes(1, "")) +
                             attr("shapes", bytes(1, bytes(7, shape({})) + bytes(7, shape({3})))));
  const std::vector<int64_t> ints{1, -2, 300};
  CHECK(n.list<int64_t>("packed") == ints && n.list<int64_t>("unpacked") == ints);
  CHECK((n.list<DType>("types") == std::vector<DType>{DType::Float, DType::Int32}));
  CHECK(static_cast<int>(n.list<DType>("_output_dtypes")[0]) == 101);
  CHECK((n.list<float>("floats") == std::vector<float>{1, 2, 3}));
  CHECK((n.list<std::string>("strings") == std::vector<std::string>{"a", ""}));
  CHECK((n.list<bool>("bools") == std::vector<bool>{true, false}));
  CHECK(n.list<int64_t>("empty").empty() && n.list<PartialShape>("shapes").size() == 2);
}

void the_last_value_of_a_key_wins() {
  const Node n = parse_attrs(int_attr("i", 1) + int_attr("i", 2));
  CHECK(n.attr<int64_t>("i") == 2);
  CHECK(parse(bytes(1, bytes(1, "a") + bytes(1, "b"))).nodes[0].name == "b");
}

void unknown_fields_and_groups_are_skipped() {
  const Bytes group = key(20, 3) + number(1, 5) + key(2, 3) + bytes(9, "x") + key(2, 4) + key(20, 4);
  const Bytes odd = number(50, 1) + real(51, 1) + key(52, 1) + Bytes(8, 'x') + bytes(53, "xyz") + group;
  const GraphDef g = parse(odd + bytes(1, odd + bytes(1, "a") + number(2, 3) + odd) + odd);
  CHECK(g.nodes.size() == 1 && g.nodes[0].name == "a" && g.nodes[0].op.empty());  // op with a wrong wire type: unknown
}

void tensors_are_read() {
  const Tensor c = parse_tensor(tensor(1, {2, 2}, content(raw<float>({1, 2, 3, 4}))));
  CHECK(c.dtype() == DType::Float && c.shape() == Shape({2, 2}) && c.data<float>()[3] == 4);
  // content has precedence over lists
  CHECK(parse_tensor(tensor(1, {}, real(5, 9) + content(raw<float>({7})))).scalar<float>() == 7);
  const Tensor repeated = parse_tensor(tensor(3, {4}, packed(7, {5, -6})));
  CHECK(repeated.data<int32_t>()[1] == -6 && repeated.data<int32_t>()[3] == -6);
  const Tensor zeros = parse_tensor(tensor(2, {3}, ""));
  CHECK(zeros.data<double>()[0] == 0 && zeros.data<double>()[2] == 0);
  CHECK(parse_tensor(tensor(2, {}, key(6, 1) + raw<double>({2.5}))).scalar<double>() == 2.5);
  CHECK(static_cast<float>(parse_tensor(tensor(19, {}, number(13, 0x3c00))).scalar<Half>()) == 1.0f);
  CHECK(static_cast<float>(parse_tensor(tensor(14, {}, number(13, 0x3f80))).scalar<BFloat16>()) == 1.0f);
  CHECK(parse_tensor(tensor(9, {}, number(10, -1))).scalar<int64_t>() == -1);
  CHECK(parse_tensor(tensor(23, {}, number(17, -1))).scalar<uint64_t>() == UINT64_MAX);
  CHECK(parse_tensor(tensor(22, {}, number(16, 7))).scalar<uint32_t>() == 7);
  CHECK(parse_tensor(tensor(6, {}, number(7, -3))).scalar<int8_t>() == -3);
  CHECK(parse_tensor(tensor(4, {}, number(7, 255))).scalar<uint8_t>() == 255);
  CHECK(parse_tensor(tensor(10, {2}, packed(11, {1}))).data<bool>()[1]);
  CHECK(*static_cast<const uint8_t*>(parse_tensor(tensor(10, {1}, content("\x05"))).raw()) == 1);
  CHECK(parse_tensor(tensor(1, {0, 5}, "")).num_elements() == 0);
  const Tensor strings = parse_tensor(tensor(7, {3}, bytes(8, "text") + bytes(8, "")));
  CHECK(strings.data<std::string>()[0] == "text" && strings.data<std::string>()[2].empty());
  const Node handle = parse_attrs(attr("value", bytes(8, tensor(20, {1}, ""))));
  CHECK(std::holds_alternative<std::monostate>(handle.attrs.at("value")));
}

void corrupt_bytes_are_refused() {
  const auto refused = [](const Bytes& b) { return fails(Code::DataLoss, "[GraphDef]", [&] { parse(b); }); };
  const auto tensor_refused = [](const Bytes& t) { return fails(Code::DataLoss, "tensor", [&] { parse_tensor(t); }); };
  CHECK(refused("\x0a"));                                    // a length is missing
  CHECK(refused(Bytes("\x0a\x05") + "abc"));                 // shorter than its length
  CHECK(refused(key(1, 2) + varint(UINT64_MAX)));            // a length of 2^64 - 1
  CHECK(refused(Bytes(11, '\xff')));                         // a varint of 11 bytes
  CHECK(refused(number(7, 1) + Bytes("\x00", 1)));           // field 0
  CHECK(refused(key(7, 6)));                                 // wire type 6
  CHECK(refused(key(7, 4)));                                 // an end without a start
  CHECK(refused(key(7, 3) + key(8, 4)));                     // an end of another group
  CHECK(refused(key(7, 3) + number(1, 1)));                  // a group without an end
  Bytes deep;
  for (int i = 0; i < 100000; ++i) deep += key(7, 3);
  CHECK(refused(deep));
  CHECK(tensor_refused(tensor(1, {2}, content(raw<float>({1})))));
  CHECK(tensor_refused(tensor(1, {1}, packed(7, {}) + real(5, 1) + real(5, 2))));
  CHECK(tensor_refused(tensor(1, {-1}, "")));
  CHECK(tensor_refused(tensor(1, {int64_t{1} << 40, int64_t{1} << 40}, "")));
  CHECK(tensor_refused(tensor(1, {int64_t{1} << 61, 0, int64_t{1} << 61}, "")));
  CHECK(tensor_refused(tensor(1, {int64_t{1} << 38}, real(5, 1))));  // a terabyte from twenty bytes
  CHECK(refused(node("n", "Op", {}, attr("s", bytes(7, shape({-5}))))));
}

void growth_is_limited_over_all_tensors() {
  Bytes g;
  for (int i = 0; i < 3; ++i) g += node("n" + std::to_string(i), "Const", {}, attr("value", bytes(8, tensor(1, {200}, ""))));
  WireLimits limits;
  limits.expansion_bytes = 2000;
  CHECK(fails(Code::DataLoss, "limit", [&] { parse(g, limits); }));
  limits.expansion_bytes = 2400;
  CHECK(parse(g, limits).nodes.size() == 3);
}

void every_prefix_of_a_graph_is_read_or_refused() {
  const Bytes g = argument("x", 0, {2, 2}) + constant("c", {2, 2}, {1, 2, 3, 4}) + node("y", "Add", {"x", "c"});
  int refused = 0;
  for (size_t n = 0; n < g.size(); ++n) {
    const Bytes exact(g.data(), n);
    try {
      parse_graph(std::vector<char>(exact.begin(), exact.end()).data(), n);
    } catch (const Error& e) {
      CHECK(e.code == Code::DataLoss);
      ++refused;
    }
  }
  CHECK(refused == static_cast<int>(g.size()) - 3);  // all but the ends of the three nodes, the last being the whole
}

std::vector<std::string> order_of(const Bytes& b) {
  const GraphDef g = parse(b);
  std::vector<std::string> names;
  for (int n : execution_order(g.nodes, link(g.nodes))) names.push_back(g.nodes[static_cast<size_t>(n)].name);
  return names;
}

void broken_graphs_are_refused() {
  const auto refused = [](const Bytes& b, const char* part) {
    return fails(Code::InvalidArgument, part, [&] { order_of(b); });
  };
  CHECK(refused(node("a", "Op", {}) + node("a", "Op", {}), "'a' occurs twice"));
  CHECK(refused(node("", "Op", {}), "no name"));
  CHECK(refused(node("a", "Op", {"b:1"}), "'a' (Op) reads 'b:1', but the graph has no node 'b'"));
  CHECK(refused(node("a", "Op", {"^b"}), "no node 'b'"));
  CHECK(refused(node("b", "Op", {}) + node("a", "Op", {"^b", "b"}), "control inputs come last"));
  CHECK(refused(node("b", "Op", {}) + node("a", "Op", {"b:x"}), "'b:x'"));
  CHECK(refused(node("b", "Op", {}) + node("a", "Op", {"b:99999999999"}), "b:99999999999"));
  CHECK(refused(node("s", "Op", {"c"}) + node("a", "Op", {"b"}) + node("b", "Op", {"c"}) + node("c", "Op", {"^b"}), "no cycles"));
  CHECK(refused(node("a", "Op", {"a"}), "'a' (Op) waits for itself"));
}

void order_starts_communication_early_and_waits_for_it_late() {
  using Names = std::vector<std::string>;
  CHECK((order_of(node("c", "Op", {"b"}) + node("b", "Op", {"a"}) + node("a", "Op", {}) + node("d", "Op", {})) ==
         Names{"a", "b", "c", "d"}));
  CHECK((order_of(node("g1", "Op", {}) + node("g0", "Op", {}) + node("x", "Op", {"g0"}) + node("wait", "_BucketWait", {"^reduce"}) +
                  node("update", "Op", {"wait"}) + node("reduce", "_BucketReduce", {"g1"}) + node("f", "_Retval", {"g0"})) ==
         Names{"g1", "reduce", "g0", "f", "x", "wait", "update"}));
}

}  // namespace

int main() {
  TEST(node_fields_are_read);
  TEST(every_attr_type_is_read);
  TEST(lists_are_read_packed_and_unpacked);
  TEST(the_last_value_of_a_key_wins);
  TEST(unknown_fields_and_groups_are_skipped);
  TEST(tensors_are_read);
  TEST(corrupt_bytes_are_refused);
  TEST(growth_is_limited_over_all_tensors);
  TEST(every_prefix_of_a_graph_is_read_or_refused);
  TEST(broken_graphs_are_refused);
  TEST(order_starts_communication_early_and_waits_for_it_late);
  return failures != 0;
}
