#include "runtime/frame_tree.h"

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/dataflow_role.h"
#include "runtime/signature.h"

namespace rf {
namespace {

constexpr int64_t kMostParallel = 1024;  // iterations; fewer than asked for compute the same

class FrameFinder {
 public:
  FrameFinder(const std::vector<Node>& nodes, const Links& links) : nodes_(nodes), links_(links) {
    tree_.frames.emplace_back();
    tree_.home.resize(nodes.size());
    tree_.target.resize(nodes.size());
  }

  // The nodes that it waits for must have been added.
  void add(int i) {
    const Node& n = node(i);
    const Role role = role_of(n.op);
    int from = -1;
    const auto meet = [&](int writer) {
      if (from < 0) from = writer;
      check(target(writer) == target(from), "[graph] the inputs of a node are in one frame: node '", n.name, "' (",
            n.op, ") reads '", node(from).name, "' in ", tree_.spelled(target(from)), " and '", node(writer).name,
            "' in ", tree_.spelled(target(writer)), ". Fix: bring values into a loop with Enter, and out with Exit");
    };
    for (const Edge& e : links_.inputs[static_cast<size_t>(i)])
      if (!is_back_edge(node(e.node), n)) meet(e.node);
    for (int c : links_.controls[static_cast<size_t>(i)]) meet(c);
    const int at = from < 0 ? 0 : target(from);
    int to = at;
    if (role == Role::Enter) to = child(at, n);
    if (role == Role::Exit || role == Role::NextIteration)
      check(at != 0, "[", n.op, "] node '", n.name, "' is in no loop: its input comes from outside of all frames");
    if (role == Role::Exit) to = tree_.frames[static_cast<size_t>(at)].parent;
    tree_.home[static_cast<size_t>(i)] = at;
    tree_.target[static_cast<size_t>(i)] = to;
  }

  FrameTree tree() { return std::move(tree_); }

 private:
  const Node& node(int i) const { return nodes_[static_cast<size_t>(i)]; }
  int target(int i) const { return tree_.target[static_cast<size_t>(i)]; }

  int child(int parent, const Node& enter) {
    const std::string& name = enter.attr<std::string>("frame_name");
    check(!name.empty(), "[", enter.op, "] node '", enter.name, "' needs a frame_name: it is empty");
    const int64_t parallel = enter.attr<int64_t>("parallel_iterations", 10);
    check(parallel >= 1, "[", enter.op, "] parallel_iterations must be at least 1: node '", enter.name, "' has ",
          parallel);
    const auto [it, is_new] = children_.emplace(std::make_pair(parent, name), static_cast<int>(tree_.frames.size()));
    if (is_new)
      tree_.frames.push_back({name, parent, static_cast<int>(std::min(parallel, kMostParallel)), &enter});
    return it->second;
  }

  const std::vector<Node>& nodes_;
  const Links& links_;
  FrameTree tree_;
  std::map<std::pair<int, std::string>, int> children_;  // frames by parent and name
};

}  // namespace

std::string FrameTree::spelled(int frame) const {
  return frame == 0 ? "no loop" : text("loop '", frames[static_cast<size_t>(frame)].name, "'");
}

FrameTree find_frames(const std::vector<Node>& nodes, const Links& links, const std::vector<int>& order) {
  FrameFinder finder(nodes, links);
  for (int i : order) with_node(nodes[static_cast<size_t>(i)], [&] { finder.add(i); });
  return finder.tree();
}

}  // namespace rf
