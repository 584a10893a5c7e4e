// Who reads whom, and in what order the nodes can run.
#pragma once

#include <vector>

#include "base/node.h"

namespace rf {

struct Edge {
  int node;
  int output;
};

struct Links {
  std::vector<std::vector<Edge>> inputs;    // data inputs of each node
  std::vector<std::vector<int>> controls;   // nodes that each node waits for besides
};

// Resolves the input names. InvalidArgument for a duplicate or empty node name, an input that names no node, and a
// data input after a control input.
Links link(const std::vector<Node>& nodes);

// Whether a data edge between these closes a loop: the reader does not wait for it.
bool is_back_edge(const Node& writer, const Node& reader);

// Kahn's algorithm over all edges that close no loop; the same for the same graph on every rank. Of the nodes that are
// ready the first in the graph goes first, with two exceptions: what starts communication or copies a fetch goes at once,
// what waits for communication goes last, so that the rest is computed meanwhile. InvalidArgument names a node on a cycle.
std::vector<int> execution_order(const std::vector<Node>& nodes, const Links& links);

}  // namespace rf
