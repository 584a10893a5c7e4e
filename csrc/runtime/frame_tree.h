// The frames of a graph with loops, and where its nodes are: a node runs in the frame in which its inputs are.
#pragma once

#include <string>
#include <vector>

#include "runtime/topology.h"

namespace rf {

struct FrameTree {
  struct Frame {
    std::string name;
    int parent = -1;
    int parallel_iterations = 1;
    const Node* enter = nullptr;  // the first into it
  };

  std::vector<Frame> frames;      // the first is around all loops; a frame comes after its parent
  std::vector<int> home, target;  // of each node: the frame where it runs, and where its outputs are read

  // For messages: "no loop" or "loop 'name'".
  std::string spelled(int frame) const;
};

// InvalidArgument for a node whose inputs are in several frames, and for an Exit outside of loops. `nodes` must outlive it.
FrameTree find_frames(const std::vector<Node>& nodes, const Links& links, const std::vector<int>& order);

}  // namespace rf
