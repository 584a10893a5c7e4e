// From a graph to the plan of a straight line: the order of the nodes, the kernel of each, and the memory of each output.
//
// A value is one output of one node. Values that share memory by construction (Identity, Reshape, an op computed in
// place, parts and what they are parts of) share one storage: shared_storage.h. Making a plan changes no state except
// through Pinning; a plan can be made again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/signature.h"
#include "runtime/wire.h"

namespace rf {

enum class Place {
  Feed,      // the caller's memory, never written
  Constant,  // the graph's, never written
  Variable,  // behind a ref output: outlives the run
  Arena,
  Pinned,    // where the collectives layer wants it
  Fresh,     // allocated by each run: the shape is not known before
};

struct Storage {
  Place place = Place::Fresh;
  size_t bytes = 0;
  int first = 0;  // positions in the order: written, last read
  int last = 0;
  int readers = 0;  // reads by nodes that do not merely alias it
  bool fetched = false;
  bool joined = false;  // holds the inputs of the op that writes it
  size_t offset = 0;
  void* address = nullptr;  // Pinned
};

struct Value {
  DType dtype = DType::Invalid;
  PartialShape shape;
  int64_t bytes = -1;  // -1: not known before the run
  int storage = -1;
  int64_t offset = 0;  // bytes, in its storage
  bool owner = true;   // its kernel asks for the memory; false: it is handed somebody else's
  int same_as = -1;    // the value that it is another name of
  int whole = -1;      // the value that it is a part of
  int divisions = 0;   // nodes that take parts of it
  int last = 0;        // position of the last node that reads it, by any name
};

struct PlanNode {
  Node node;
  const KernelEntry* kernel = nullptr;  // null: the executor deals with it (_Arg, _Retval, Const, NoOp)
  std::vector<int> inputs;              // values
  int first_output = 0;                 // its outputs are values first_output, first_output + 1, ...
  int num_outputs = 0;
  int in_place = -1;                    // output 0 is written over this input
  bool first_value = false;             // gives a new variable the memory of input 1, which nobody else reads
};

struct Plan {
  std::vector<PlanNode> nodes;  // in order of execution
  std::vector<Value> values;
  std::vector<Storage> storages;
  CallSignature signature;
  size_t arena_bytes = 0;
  bool initialises = false;  // variables that did not exist: most likely it runs once
  std::vector<std::shared_ptr<void>> keep_alive;  // of pinned memory
};

// InvalidArgument for a graph that cannot run as a straight line, Unimplemented where a kernel is missing.
Plan make_plan(GraphDef graph, Resources& resources);

std::string describe(const Plan& plan);

}  // namespace rf
