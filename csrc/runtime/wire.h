// GraphDef bytes -> nodes. Any input that is corrupt or cut short is a DataLoss error: no crash, no read outside the
// bytes, no allocation that a forged size asks for. Source: the field numbers of TensorFlow's graph.proto.
//
// Attrs that the runtime has no use for (functions, lists of tensors, tensors of strings) become empty attrs.
// A ref dtype becomes its value dtype, except in `_output_dtypes`, which says which outputs are refs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/node.h"

namespace rf {

struct WireLimits {
  // What all tensors together may grow beyond the bytes received (zeros, one repeated value).
  size_t expansion_bytes = size_t{1} << 30;
  int nesting = 64;
};

struct GraphDef {
  std::vector<Node> nodes;
  int64_t producer = 0;
  int64_t min_consumer = 0;
};

GraphDef parse_graph(const void* data, size_t bytes, const WireLimits& limits = {});

}  // namespace rf
