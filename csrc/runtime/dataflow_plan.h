// From a graph with control flow to what its runs share: frames of nodes, the edges between them, and counts.
//
// A frame is the body of a loop (frame 0: the graph around all loops). A run gives every iteration of a frame its own
// counts and its own slots, one for each value. A value belongs to the frame in which it is read: that of an Enter to the
// child, that of an Exit to the parent. Source: TensorFlow's executor, its frames and its rules for dead tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/dataflow_role.h"
#include "runtime/signature.h"
#include "runtime/wire.h"

namespace rf {

struct FlowEdge {
  static constexpr int kControl = -1;
  static constexpr int kOrder = -2;  // orders collectives; carries no deadness
  int node;    // the reader, within its frame
  int input;   // of the reader, or kControl, kOrder
  int output;  // of the writer
  bool merge;  // the reader is a Merge
};

struct FlowNode {
  const Node* node = nullptr;
  Role role = Role::Kernel;
  bool as_ref = false;     // Switch, Merge, ...: passes references and handles on as such
  uint32_t over = 0;       // inputs, as bits, that output 0 may be written over
  bool trigger = false;    // ControlTrigger: alive whatever its inputs are
  bool constant = false;   // Enter: delivers to every iteration
  bool unread = false;     // an output has no reader
  bool transfer = false;   // _Send, _Recv: runs dead or alive, and is told where
  int place = 0;           // in the order of a straight line
  int target = 0;          // frame whose values its outputs are
  int first_input = 0;     // in FlowFrame::inputs
  int num_inputs = 0;
  int first_output = 0;    // in the values of `target`
  int num_outputs = 0;
  const FlowEdge* first_edge = nullptr;  // in FlowFrame::edges: to its readers
  const FlowEdge* end_edge = nullptr;
  int ordinal = 0;         // among the nodes of its role in the frame; _Arg, _Retval: the index
  const Tensor* value = nullptr;  // of a Const
  Kernel kernel;
  AsyncKernel async;
  std::vector<int> gates;  // ordinals: runs only while all are open
};

struct FlowValue {
  DType dtype = DType::Invalid;
  int readers = 0;
  int counter = -1;  // of readers that are left, where there are several
};

// Tokens that a node still waits for. Of a Merge: control tokens only, and -1 once it has fired.
struct Count {
  int pending = 0;
  int dead = 0;  // inputs that have come dead
};

struct FlowFrame {
  std::string name;
  int parent = -1;
  int child = -1;       // ordinal among the parent's children
  int children = 0;
  int parallel_iterations = 1;
  int enters = 0;
  int constant_enters = 0;
  int exits = 0;
  int next_iterations = 0;
  int merges = 0;
  std::vector<FlowNode> nodes;  // in an order in which they could run
  std::vector<FlowEdge> edges;
  std::vector<FlowValue> values;
  std::vector<int> inputs;        // values, node by node
  std::vector<int> merge_inputs;  // values that a Merge may leave behind unread
  std::vector<Count> counts;      // of a new iteration
  std::vector<int> readers;       // of a new iteration, by counter
};

struct FlowPlan {
  std::vector<Node> nodes;
  std::vector<FlowFrame> frames;  // a frame comes after its parent
  CallSignature signature;
  std::vector<Tensor> merge_indices;  // what a Merge may say about which input it took
  int gates = 0;
  bool collective = false;  // has ops that meet other ranks: one run at a time
};

// Whether the graph needs this schedule: it has control flow, or kernels that wait.
bool needs_dataflow(const std::vector<Node>& nodes);

// InvalidArgument for a graph whose loops are malformed, Unimplemented where a kernel is missing.
FlowPlan make_flow_plan(GraphDef graph);

std::string describe(const FlowPlan& plan);

}  // namespace rf
