// What every schedule reads off a graph the same way: the kernel and the output dtypes of a node, and which nodes are the
// feeds (_Arg) and the results (_Retval) of the executable.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace rf {

struct Argument {
  std::string name;  // of the _Arg node; empty: nothing reads this feed
  DType dtype = DType::Invalid;
  PartialShape shape;
  int value = -1;  // of the plan
};

class CallSignature {
 public:
  std::vector<Argument> arguments;     // by the index of the _Arg
  std::vector<DType> result_dtypes;    // by the index of the _Retval

  // InvalidArgument for an index that is taken or absurd, and for a result that cannot be fetched.
  void add_argument(const Node& arg, DType dtype, const PartialShape& shape, int value);
  void add_result(const Node& retval, DType dtype);
  // InvalidArgument where the indices of the results have a gap. After the last node was added.
  void check_results() const;
  // InvalidArgument unless there is a feed of the right dtype for each argument that is read.
  void check_feeds(const std::vector<Tensor>& feeds) const;
};

// Whether the schedules themselves do what the op does; all others need a kernel.
bool native(const std::string& op);
// Unimplemented where there is none; InvalidArgument for a Placeholder, which should have been fed.
const KernelEntry* select_kernel(const Node& node);
// Calls `step`. An error that carries no node carries this one.
template <class Step>
auto with_node(const Node& node, Step step) {
  try {
    return step();
  } catch (Error& e) {
    if (e.node.empty()) e.node = node.name;
    throw;
  }
}
// The kernel made for this node; its errors carry the node.
Kernel make_kernel(const Node& node, const KernelEntry& entry);
// As on the wire: those of refs are 100 higher.
std::vector<DType> output_dtypes(const Node& node);
// The value of a Const; Unimplemented for a dtype that the runtime does not have.
const Tensor& constant_of(const Node& node);
// InvalidArgument unless `writer` has an output of this number for `reader`.
void check_output(const Node& reader, const Node& writer, int output, int num_outputs);
// The index of an _Arg or _Retval.
size_t index_of(const Node& node);

}  // namespace rf
