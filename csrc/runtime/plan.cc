#include "runtime/plan.h"

#include <algorithm>
#include <utility>

#include "runtime/pinning.h"
#include "runtime/shared_storage.h"
#include "runtime/topology.h"

namespace rf {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 46;

// The size of a tensor, -1 where it is not known.
int64_t bytes_of(DType dtype, const PartialShape& shape) {
  if (!shape.fully_known() || size_of(dtype) == 0) return -1;
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  for (int64_t d : shape.dims)
    if (__builtin_mul_overflow(bytes, d, &bytes) || bytes > kMaxBytes) return -1;
  return bytes;
}

class Planner {
 public:
  Planner(GraphDef graph, Resources& resources) : graph_(std::move(graph)), resources_(resources) {}

  Plan make() {
    order();
    for (size_t i = 0; i < plan_.nodes.size(); ++i)
      with_node(plan_.nodes[i].node, [&] { add_values(plan_.nodes[i], static_cast<int>(i)); });
    plan_.signature.check_results();
    pin();
    hand_over_first_values();
    share_storage(plan_);
    return std::move(plan_);
  }

 private:
  Value& value(int v) { return plan_.values[static_cast<size_t>(v)]; }
  Storage& storage(int v) { return plan_.storages[static_cast<size_t>(value(v).storage)]; }

  void order() {
    const Links links = link(graph_.nodes);
    const std::vector<int> order = execution_order(graph_.nodes, links);
    std::vector<size_t> position(order.size());
    for (size_t i = 0; i < order.size(); ++i) position[static_cast<size_t>(order[i])] = i;
    plan_.nodes.resize(order.size());
    edges_.resize(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      const size_t n = static_cast<size_t>(order[i]);
      plan_.nodes[i].node = std::move(graph_.nodes[n]);
      for (const Edge& e : links.inputs[n])
        edges_[i].push_back({static_cast<int>(position[static_cast<size_t>(e.node)]), e.output});
    }
  }

  // Resolves the inputs of a node and adds its outputs. Its producers come before it in the order.
  void add_values(PlanNode& p, int position) {
    const Node& node = p.node;
    for (const Edge& e : edges_[static_cast<size_t>(position)]) {
      const PlanNode& producer = plan_.nodes[static_cast<size_t>(e.node)];
      check_output(node, producer.node, e.output, producer.num_outputs);
      p.inputs.push_back(producer.first_output + e.output);
    }
    if (!native(node.op)) p.kernel = select_kernel(node);

    p.first_output = static_cast<int>(plan_.values.size());
    const std::vector<DType> dtypes = output_dtypes(node);
    const std::vector<PartialShape> shapes = node.list<PartialShape>("_output_shapes");
    p.num_outputs = static_cast<int>(dtypes.size());
    for (size_t k = 0; k < dtypes.size(); ++k) {
      Value v;
      v.dtype = value_dtype(static_cast<int64_t>(dtypes[k]));
      if (k < shapes.size())
        v.shape = shapes[k];
      else
        v.shape.unknown_rank = true;
      v.bytes = bytes_of(v.dtype, v.shape);
      give_storage(p, v, k, static_cast<int64_t>(dtypes[k]) > 100, position);
      plan_.values.push_back(std::move(v));
    }
    const bool alias = p.kernel && (p.kernel->sharing == Sharing::Alias || p.kernel->sharing == Sharing::Parts);
    for (int v : p.inputs) {
      Storage& s = storage(v);
      s.last = position;
      if (!alias) ++s.readers;
      if (node.op == "_Retval") s.fetched = true;
      for (int same = v; same >= 0; same = value(same).same_as) {
        value(same).last = position;
        value(same).divisions += p.kernel && p.kernel->sharing == Sharing::Parts;
      }
    }
    if (node.op == "_Arg") {
      const Value& v = value(p.first_output);
      plan_.signature.add_argument(node, v.dtype, v.shape, p.first_output);
    } else if (node.op == "_Retval") {
      check(p.inputs.size() == 1, "[_Retval] takes one input: node '", node.name, "' has ", p.inputs.size());
      plan_.signature.add_result(node, value(p.inputs[0]).dtype);
    }
  }

  // An op that updates a variable passes it on. For graphs whose `_output_dtypes` do not tell refs from values; without
  // this the plan would reserve memory that nobody writes.
  bool passes_variable_on(const PlanNode& p) {
    if (p.inputs.empty() || storage(p.inputs[0]).place != Place::Variable || !value(p.inputs[0]).owner) return false;
    for (const char* prefix : {"Assign", "Apply", "SparseApply", "Scatter"})
      if (p.node.op.rfind(prefix, 0) == 0) return true;
    return false;
  }

  void give_storage(const PlanNode& p, Value& v, size_t k, bool ref, int position) {
    Storage s;
    s.first = s.last = position;
    ref = ref || p.node.op == "VariableV2" || p.node.op == "VarHandleOp" || (k == 0 && passes_variable_on(p));
    if (p.node.op == "_Arg") {
      s.place = Place::Feed;
    } else if (p.node.op == "Const") {
      s.place = Place::Constant;
    } else if (ref) {
      s.place = Place::Variable;
    } else if (p.kernel && p.kernel->sharing == Sharing::Alias && k < p.inputs.size()) {
      v.owner = false;
      v.storage = value(p.inputs[k]).storage;
      v.offset = value(p.inputs[k]).offset;
      v.same_as = p.inputs[k];
      return;
    } else if (p.kernel && p.kernel->sharing == Sharing::Parts && !p.inputs.empty()) {
      v.owner = false;
      v.storage = value(p.inputs[0]).storage;
      v.offset = k == 0 ? value(p.inputs[0]).offset : plan_.values.back().offset + plan_.values.back().bytes;
      v.whole = p.inputs[0];
      return;
    } else if (v.bytes >= 0) {
      s.place = Place::Arena;
      s.bytes = static_cast<size_t>(v.bytes);
    }
    v.storage = static_cast<int>(plan_.storages.size());
    plan_.storages.push_back(s);
  }

  void pin() {
    const auto pinning = std::dynamic_pointer_cast<Pinning>(resources_.find(kCommunicatorContainer, "communicator"));
    if (!pinning) return;
    for (const PlanNode& p : plan_.nodes) {
      if (p.node.op != "_BucketReduce") continue;
      Pinned pinned = pinning->inputs(p.node);
      for (size_t i = 0; i < std::min(pinned.addresses.size(), p.inputs.size()); ++i)
        offer(p.node, i, p.inputs[i], pinned.addresses[i], true);
      plan_.keep_alive.push_back(std::move(pinned.keep_alive));
    }
    for (const PlanNode& p : plan_.nodes) {
      if (p.node.op != "_BucketWait") continue;
      Pinned pinned = pinning->outputs(p.node);
      for (size_t i = 0; i < std::min(pinned.addresses.size(), static_cast<size_t>(p.num_outputs)); ++i)
        offer(p.node, i, p.first_output + static_cast<int>(i), pinned.addresses[i], false);
      plan_.keep_alive.push_back(std::move(pinned.keep_alive));
    }
  }

  // Takes the address for value v unless somebody else reads it or its size is not the one that was reserved.
  void offer(const Node& node, size_t i, int v, void* address, bool sole_reader) {
    const std::vector<int64_t> elements = node.list<int64_t>("elements");
    Storage& s = storage(v);
    if (!address || i >= elements.size() || s.place != Place::Arena || (sole_reader && s.readers != 1)) return;
    if (s.fetched && node.attr<bool>("in_place", false)) return;  // perhaps after the memory may last be read
    if (value(v).bytes != static_cast<int64_t>(s.bytes) || elements[i] > kMaxBytes ||
        elements[i] * static_cast<int64_t>(size_of(value(v).dtype)) != value(v).bytes)
      return;
    s.place = Place::Pinned;
    s.address = address;
  }

  // The first value of a variable becomes the variable's memory. By way of the arena the whole model would be held
  // twice, for as long as the plan is.
  void hand_over_first_values() {
    for (size_t i = 0; i < plan_.nodes.size(); ++i) {
      PlanNode& p = plan_.nodes[i];
      if ((p.node.op != "Assign" && p.node.op != "AssignVariableOp") || p.inputs.size() != 2) continue;
      const Node& variable = plan_.nodes[static_cast<size_t>(edges_[i][0].node)].node;
      if ((variable.op != "VariableV2" && variable.op != "VarHandleOp") || exists(variable)) continue;
      plan_.initialises = true;
      Storage& s = storage(p.inputs[1]);
      if (s.place != Place::Arena || s.readers != 1 || s.fetched || !value(p.inputs[1]).owner) continue;
      s.place = Place::Fresh;
      p.first_value = true;
    }
  }

  bool exists(const Node& variable) const {
    const std::string shared_name = variable.attr<std::string>("shared_name", "");
    return resources_.find(variable.attr<std::string>("container", ""),
                           shared_name.empty() ? variable.name : shared_name) != nullptr;
  }

  GraphDef graph_;
  Resources& resources_;
  Plan plan_;
  std::vector<std::vector<Edge>> edges_;  // data inputs, by positions in the order
};

}  // namespace

Plan make_plan(GraphDef graph, Resources& resources) { return Planner(std::move(graph), resources).make(); }

}  // namespace rf
