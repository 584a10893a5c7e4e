#include "runtime/dataflow_plan.h"

#include <algorithm>
#include <utility>

#include "runtime/frame_tree.h"

namespace rf {
namespace {

class FlowPlanner {
 public:
  explicit FlowPlanner(GraphDef graph) { plan_.nodes = std::move(graph.nodes); }

  FlowPlan make() {
    links_ = link(plan_.nodes);
    order_ = execution_order(plan_.nodes, links_);
    tree_ = find_frames(plan_.nodes, links_, order_);
    for (const FrameTree::Frame& f : tree_.frames) add_frame(f);
    position_.resize(plan_.nodes.size());
    out_.resize(plan_.nodes.size());
    for (int i : order_) with_node(node(i), [&] { add_node(i); });
    for (int i : order_) with_node(node(i), [&] { connect(i); });
    order_collectives();
    for (FlowFrame& frame : plan_.frames) frame.edges.reserve(edges_in(frame));
    for (int i : order_) add_edges(i);
    for (FlowFrame& frame : plan_.frames) complete(frame);
    plan_.signature.check_results();
    return std::move(plan_);
  }

 private:
  const Node& node(int i) const { return plan_.nodes[static_cast<size_t>(i)]; }
  FlowFrame& frame(int f) { return plan_.frames[static_cast<size_t>(f)]; }
  int home(int i) const { return tree_.home[static_cast<size_t>(i)]; }
  int target(int i) const { return tree_.target[static_cast<size_t>(i)]; }
  FlowNode& flow(int i) { return frame(home(i)).nodes[static_cast<size_t>(position_[static_cast<size_t>(i)])]; }
  const std::vector<Edge>& inputs(int i) const { return links_.inputs[static_cast<size_t>(i)]; }
  const std::vector<int>& controls(int i) const { return links_.controls[static_cast<size_t>(i)]; }

  void add_frame(const FrameTree::Frame& f) {
    FlowFrame& made = plan_.frames.emplace_back();
    made.name = f.name;
    made.parent = f.parent;
    made.parallel_iterations = f.parallel_iterations;
    if (f.parent >= 0) made.child = frame(f.parent).children++;
  }

  // ---- nodes and their values

  void add_node(int i) {
    const Node& n = node(i);
    FlowNode f;
    f.node = &n;
    f.role = role_of(n.op);
    f.trigger = n.op == "ControlTrigger";
    f.transfer = n.op == "_Send" || n.op == "_Recv";
    f.place = place_++;
    f.target = target(i);
    f.num_inputs = static_cast<int>(inputs(i).size());
    if (f.role == Role::Kernel) add_kernel(f);
    if (f.role == Role::Constant) f.value = &constant_of(n);
    check_inputs(i, f);
    number(f, frame(home(i)));

    const std::vector<DType> dtypes = dtypes_of(i, f);
    std::vector<FlowValue>& values = frame(f.target).values;
    f.first_output = static_cast<int>(values.size());
    f.num_outputs = static_cast<int>(dtypes.size());
    for (DType d : dtypes) {
      FlowValue v;
      v.dtype = value_dtype(static_cast<int64_t>(d));
      values.push_back(v);
    }
    if (f.num_outputs > 0) {
      const DType first = values[static_cast<size_t>(f.first_output)].dtype;
      f.as_ref = n.op.rfind("Ref", 0) == 0 || first == DType::Resource || first == DType::Variant;
    }
    position_[static_cast<size_t>(i)] = static_cast<int>(frame(home(i)).nodes.size());
    frame(home(i)).nodes.push_back(std::move(f));
  }

  static void add_kernel(FlowNode& f) {
    const KernelEntry* entry = select_kernel(*f.node);
    f.over = entry->sharing == Sharing::InPlace ? ~uint32_t{0} : entry->sharing == Sharing::OverFirst ? 1 : 0;
    if (entry->make_async) {
      f.role = Role::Async;
      f.async = entry->make_async(*f.node);
    } else {
      f.kernel = make_kernel(*f.node, *entry);
    }
  }

  void check_inputs(int i, const FlowNode& f) {
    const Node& n = node(i);
    const auto takes = [&](int count) {
      check(f.num_inputs == count, "[", n.op, "] takes ", count, count == 1 ? " input" : " inputs", ": node '", n.name,
            "' has ", f.num_inputs);
    };
    if (f.role == Role::Switch) takes(2);
    if (f.role == Role::Result || f.role == Role::Gate || (is_control_flow(f.role) && f.role < Role::Switch)) takes(1);
    if (f.role == Role::Enter || f.role == Role::Exit || f.role == Role::NextIteration) takes(1);
    if (f.role == Role::Result || f.role == Role::Gate)
      check(home(i) == 0, "[", n.op, "] node '", n.name, "' reads '", n.inputs[0], "' inside of ", tree_.spelled(home(i)),
            ". Fix: read what an Exit of the loop returns");
    if (f.role != Role::Merge) return;
    const auto from_outside = [&](const Edge& e) { return !is_back_edge(node(e.node), n); };
    check(std::any_of(inputs(i).begin(), inputs(i).end(), from_outside), "[", n.op, "] node '", n.name,
          "' needs an input that is no NextIteration: it has ", f.num_inputs, " inputs");
    for (const Edge& e : inputs(i))
      check(from_outside(e) || home(e.node) == home(i), "[", n.op, "] node '", n.name, "' in ", tree_.spelled(home(i)),
            " reads NextIteration '", node(e.node).name, "' of ", tree_.spelled(home(e.node)));
  }

  // The place of a node among those of its role, where runs keep something for each.
  void number(FlowNode& f, FlowFrame& in) {
    switch (f.role) {
      case Role::Argument:
      case Role::Result: f.ordinal = static_cast<int>(index_of(*f.node)); break;
      case Role::Gate: f.ordinal = plan_.gates++; break;
      case Role::Merge:
        f.ordinal = in.merges++;
        for (int k = static_cast<int>(plan_.merge_indices.size()); k < f.num_inputs; ++k)
          *plan_.merge_indices.emplace_back(DType::Int32, Shape()).data<int32_t>() = k;
        break;
      case Role::Exit: f.ordinal = in.exits++; break;
      case Role::NextIteration: f.ordinal = in.next_iterations++; break;
      case Role::Enter:
        ++frame(f.target).enters;
        f.constant = f.node->attr<bool>("is_constant", false);
        if (f.constant) f.ordinal = frame(f.target).constant_enters++;
        break;
      default: break;
    }
  }

  // Control flow passes dtypes on, so that a graph need not tell them.
  std::vector<DType> dtypes_of(int i, const FlowNode& f) {
    if (!is_control_flow(f.role) || node(i).has("_output_dtypes")) return output_dtypes(node(i));
    DType dtype = DType::Invalid;
    for (const Edge& e : inputs(i)) {
      if (is_back_edge(node(e.node), node(i))) continue;
      dtype = value_of(i, e).dtype;
      break;
    }
    if (f.role == Role::Switch) return {dtype, dtype};
    if (f.role == Role::Merge) return {dtype, DType::Int32};
    return {dtype};
  }

  FlowValue& value_of(int reader, const Edge& e) {
    const FlowNode& writer = flow(e.node);
    check_output(node(reader), node(e.node), e.output, writer.num_outputs);
    return frame(writer.target).values[static_cast<size_t>(writer.first_output + e.output)];
  }

  // ---- edges

  void connect(int i) {
    const Node& n = node(i);
    FlowFrame& in = frame(home(i));
    FlowNode& f = flow(i);
    const int position = position_[static_cast<size_t>(i)];
    const bool merge = f.role == Role::Merge;
    f.first_input = static_cast<int>(in.inputs.size());
    for (const Edge& e : inputs(i)) {
      ++value_of(i, e).readers;
      const FlowNode& writer = flow(e.node);
      const int input = static_cast<int>(in.inputs.size()) - f.first_input;
      in.inputs.push_back(writer.first_output + e.output);
      if (merge) in.merge_inputs.push_back(in.inputs.back());
      check(writer.role != Role::NextIteration || merge,
            "[NextIteration] only a Merge reads the next iteration: node '", n.name, "' (", n.op, ") reads '",
            writer.node->name, "'");
      out_[static_cast<size_t>(e.node)].push_back({position, input, e.output, merge});
    }
    for (int c : controls(i)) {
      const FlowNode& writer = flow(c);
      check(writer.role != Role::NextIteration, "[NextIteration] nothing can wait for '", writer.node->name,
            "': node '", n.name, "' (", n.op, ") has it as a control input");
      out_[static_cast<size_t>(c)].push_back({position, FlowEdge::kControl, 0, merge});
      if (writer.role == Role::Gate) add_gate(f, writer.ordinal);
    }
    const size_t waits_for = controls(i).size() + (merge ? 0 : inputs(i).size());
    in.counts.push_back({static_cast<int>(waits_for), 0});
    if (f.role == Role::Argument) {
      const std::vector<PartialShape> shapes = n.list<PartialShape>("_output_shapes");
      PartialShape shape;
      shape.unknown_rank = true;
      plan_.signature.add_argument(n, in.values[static_cast<size_t>(f.first_output)].dtype,
                                   shapes.empty() ? shape : shapes[0], f.first_output);
    }
    if (f.role == Role::Result) plan_.signature.add_result(n, value_of(i, inputs(i)[0]).dtype);
  }

  static void add_gate(FlowNode& f, int gate) {
    check(f.num_outputs <= 1, "[_Gate] only updates of variables and ops without outputs can be held back: node '",
          f.node->name, "' (", f.node->op, ") has other outputs");
    f.gates.push_back(gate);
  }

  // Every rank meets the others in the same order, whatever is ready first.
  void order_collectives() {
    int last = -1;
    for (int i : order_) {
      if (!is_collective(node(i).op)) continue;
      plan_.collective = true;
      if (home(i) != 0) continue;
      const int position = position_[static_cast<size_t>(i)];
      if (last >= 0) {
        out_[static_cast<size_t>(last)].push_back({position, FlowEdge::kOrder, 0, false});
        ++frame(0).counts[static_cast<size_t>(position)].pending;
      }
      last = i;
    }
  }

  // Nodes point at their edges, which must not move.
  size_t edges_in(const FlowFrame& f) const {
    size_t count = 0;
    for (const FlowNode& n : f.nodes) count += out_[static_cast<size_t>(n.node - plan_.nodes.data())].size();
    return count;
  }

  void add_edges(int i) {
    FlowFrame& in = frame(home(i));
    FlowNode& f = flow(i);
    const std::vector<FlowEdge>& out = out_[static_cast<size_t>(i)];
    f.first_edge = in.edges.data() + in.edges.size();
    in.edges.insert(in.edges.end(), out.begin(), out.end());
    f.end_edge = in.edges.data() + in.edges.size();
    for (int k = 0; k < f.num_outputs; ++k)
      f.unread = f.unread || frame(f.target).values[static_cast<size_t>(f.first_output + k)].readers == 0;
  }

  void complete(FlowFrame& f) {
    for (FlowValue& v : f.values) {
      if (v.readers <= 1) continue;
      v.counter = static_cast<int>(f.readers.size());
      f.readers.push_back(v.readers);
    }
    if (&f == &plan_.frames[0] || f.exits > 0) return;
    const Node& enter = *tree_.frames[static_cast<size_t>(&f - plan_.frames.data())].enter;
    throw Error(Code::InvalidArgument,
                text("[", enter.op, "] a loop ends by an Exit: loop '", f.name, "' of node '", enter.name,
                     "' has none"),
                enter.name);
  }

  FlowPlan plan_;
  Links links_;
  std::vector<int> order_;
  FrameTree tree_;
  int place_ = 0;
  std::vector<int> position_;       // of a node in its frame
  std::vector<std::vector<FlowEdge>> out_;
};

}  // namespace

bool needs_dataflow(const std::vector<Node>& nodes) {
  return std::any_of(nodes.begin(), nodes.end(), [](const Node& n) {
    if (is_control_flow(role_of(n.op)) || n.op == "ControlTrigger") return true;
    const KernelEntry* entry = find_kernel(n.op, DType::Invalid);
    return entry && entry->make_async;
  });
}

FlowPlan make_flow_plan(GraphDef graph) { return FlowPlanner(std::move(graph)).make(); }

}  // namespace rf
