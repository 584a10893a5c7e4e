// Plans as text.
#include <sstream>

#include "runtime/dataflow_plan.h"
#include "runtime/plan.h"

namespace rf {

std::string describe(const Plan& plan) {
  static const char* const places[] = {"feed", "const", "variable", "arena", "pinned", "fresh"};
  std::ostringstream out;
  out << plan.nodes.size() << " nodes, arena " << plan.arena_bytes << " bytes\n";
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlanNode& p = plan.nodes[i];
    out << i << ' ' << p.node.name << " = " << p.node.op << '(';
    size_t data = 0;
    for (; data < p.inputs.size(); ++data) out << (data ? ", " : "") << p.node.inputs[data];
    out << ')';
    for (int k = 0; k < p.num_outputs; ++k) {
      const Value& v = plan.values[static_cast<size_t>(p.first_output + k)];
      const Storage& s = plan.storages[static_cast<size_t>(v.storage)];
      out << (k ? ", " : " -> ") << name_of(v.dtype) << ' ';
      if (v.bytes >= 0)
        out << v.bytes << " B ";
      else
        out << "? B ";
      out << places[static_cast<size_t>(s.place)];
      if (s.place == Place::Arena) out << " @" << s.offset + static_cast<size_t>(v.offset);
      if (!v.owner) out << " alias";
    }
    if (p.in_place >= 0) out << " in place of input " << p.in_place;
    out << '\n';
  }
  return out.str();
}

std::string describe(const FlowPlan& plan) {
  std::ostringstream out;
  out << plan.nodes.size() << " nodes, by ready queue\n";
  for (const FlowFrame& frame : plan.frames) {
    if (frame.parent >= 0)
      out << "loop '" << frame.name << "', at most " << frame.parallel_iterations << " iterations at once\n";
    for (const FlowNode& f : frame.nodes) {
      out << f.node->name << " = " << f.node->op << '(';
      for (size_t k = 0; k < f.node->inputs.size(); ++k) out << (k ? ", " : "") << f.node->inputs[k];
      out << ')';
      const FlowFrame& target = plan.frames[static_cast<size_t>(f.target)];
      for (int k = 0; k < f.num_outputs; ++k)
        out << (k ? ", " : " -> ") << name_of(target.values[static_cast<size_t>(f.first_output + k)].dtype);
      out << '\n';
    }
  }
  return out.str();
}

}  // namespace rf
