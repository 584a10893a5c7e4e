// Ops that move elements by their size, whatever the dtype: which of their inputs must be of the outputs' dtype.
//
// Their kernels are registered for any dtype and never look at an element, so nothing else would notice that a graph from
// elsewhere mixes element sizes.
#pragma once

#include "kernels/kernel.h"

namespace rf {

// `kernel` of the node, after a check of the dtypes if its op moves elements; else `kernel` itself.
Kernel check_moved(const Node& node, Kernel kernel);

}  // namespace rf
