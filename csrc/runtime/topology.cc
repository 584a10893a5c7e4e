#include "runtime/topology.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string_view>
#include <unordered_map>

namespace rf {
namespace {

struct Input {
  std::string_view node;
  int output;
  bool control;
};

// "n", "n:1" or "^n". Names hold no colon.
Input split(const Node& reader, const std::string& input) {
  std::string_view s = input;
  if (!s.empty() && s[0] == '^') return {s.substr(1), 0, true};
  const size_t colon = s.rfind(':');
  if (colon == std::string_view::npos) return {s, 0, false};
  int output = 0;
  const std::string_view digits = s.substr(colon + 1);
  bool ok = !digits.empty() && digits.size() <= 6;
  for (char c : digits) {
    ok = ok && c >= '0' && c <= '9';
    output = output * 10 + (c - '0');
    if (!ok) break;
  }
  check(ok, "[graph] an input is 'name', 'name:output' or '^name': node '", reader.name, "' has '", input, "'");
  return {s.substr(0, colon), output, false};
}

enum Priority { kAtOnce, kNormal, kLast };

Priority priority(const Node& node) {
  const bool starts = node.op == "_BucketReduce" || node.op == "_ExactMaxima" || node.op == "_ExactSum";
  if (starts || node.op == "_Retval") return kAtOnce;
  return node.op == "_BucketWait" || node.op == "_ExactMean" ? kLast : kNormal;
}

// A node on a cycle, given that `waiting[i] > 0` for exactly the nodes that cannot run.
int node_on_cycle(const std::vector<Node>& nodes, const Links& links, const std::vector<int>& waiting) {
  const auto blocked = [&](int n) { return waiting[static_cast<size_t>(n)] > 0; };
  int at = 0;
  while (!blocked(at)) ++at;
  // going from a blocked node to a blocked predecessor must come round
  std::vector<bool> seen(waiting.size(), false);
  while (!seen[static_cast<size_t>(at)]) {
    seen[static_cast<size_t>(at)] = true;
    int next = -1;
    const size_t reader = static_cast<size_t>(at);
    for (const Edge& e : links.inputs[reader])
      if (blocked(e.node) && !is_back_edge(nodes[static_cast<size_t>(e.node)], nodes[reader])) next = e.node;
    for (int c : links.controls[reader])
      if (blocked(c)) next = c;
    at = next;
  }
  return at;
}

}  // namespace

bool is_back_edge(const Node& writer, const Node& reader) {
  const auto is = [](const Node& node, const char* op, const char* ref_op) { return node.op == op || node.op == ref_op; };
  return is(writer, "NextIteration", "RefNextIteration") && is(reader, "Merge", "RefMerge");
}

Links link(const std::vector<Node>& nodes) {
  std::unordered_map<std::string_view, int> by_name;
  by_name.reserve(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    check(!nodes[i].name.empty(), "[graph] node ", i, " (", nodes[i].op, ") has no name");
    check(by_name.emplace(nodes[i].name, static_cast<int>(i)).second, "[graph] node names are unique: '",
          nodes[i].name, "' occurs twice");
  }
  Links links;
  links.inputs.resize(nodes.size());
  links.controls.resize(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string& name : nodes[i].inputs) {
      const Input input = split(nodes[i], name);
      const auto it = by_name.find(input.node);
      check(it != by_name.end(), "[graph] node '", nodes[i].name, "' (", nodes[i].op, ") reads '", name,
            "', but the graph has no node '", input.node, "'");
      if (input.control) {
        links.controls[i].push_back(it->second);
        continue;
      }
      check(links.controls[i].empty(), "[graph] control inputs come last: node '", nodes[i].name, "' has '", name,
            "' after one");
      links.inputs[i].push_back({it->second, input.output});
    }
  }
  return links;
}

std::vector<int> execution_order(const std::vector<Node>& nodes, const Links& links) {
  std::vector<std::vector<int>> readers(nodes.size());
  std::vector<int> waiting(nodes.size(), 0);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto wait_for = [&](int n) {
      readers[static_cast<size_t>(n)].push_back(static_cast<int>(i));
      ++waiting[i];
    };
    for (const Edge& e : links.inputs[i])
      if (!is_back_edge(nodes[static_cast<size_t>(e.node)], nodes[i])) wait_for(e.node);
    for (int c : links.controls[i]) wait_for(c);
  }
  using Entry = std::pair<Priority, int>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> ready;
  const auto push = [&](size_t i) { ready.emplace(priority(nodes[i]), static_cast<int>(i)); };
  for (size_t i = 0; i < nodes.size(); ++i)
    if (waiting[i] == 0) push(i);
  std::vector<int> order;
  order.reserve(nodes.size());
  while (!ready.empty()) {
    const int n = ready.top().second;
    ready.pop();
    order.push_back(n);
    for (int r : readers[static_cast<size_t>(n)])
      if (--waiting[static_cast<size_t>(r)] == 0) push(static_cast<size_t>(r));
  }
  if (order.size() != nodes.size()) {
    const Node& node = nodes[static_cast<size_t>(node_on_cycle(nodes, links, waiting))];
    throw Error(Code::InvalidArgument,
                text("[graph] a graph has no cycles but through NextIteration and Merge: node '", node.name, "' (", node.op,
                     ") waits for itself"),
                node.name);
  }
  return order;
}

}  // namespace rf
