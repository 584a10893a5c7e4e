// TensorProto and TensorShapeProto -> Tensor and PartialShape.
#pragma once

#include "base/node.h"
#include "base/protobuf.h"

namespace rf {

// Bytes that tensors may still grow beyond what the message holds; shared by all tensors of a graph.
struct ExpansionBudget {
  size_t left;
};

PartialShape read_shape(Reader r);

// The tensor; an uninitialised one where the runtime has no such dtype (strings, quantised types).
// `tensor_content` has precedence; a list shorter than the tensor repeats its last value; no list: zeros.
Tensor read_tensor(Reader r, ExpansionBudget& budget);

}  // namespace rf
