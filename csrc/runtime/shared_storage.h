// Which outputs of a straight line share memory: the inputs of ops that join them lie where they belong in the whole, ops
// are computed in place where nobody reads their input again. What is left has its place in the arena.
#pragma once

#include "runtime/plan.h"

namespace rf {

// Sets `in_place` of the nodes, and of every value the storage and the offset in it. All values must have been made.
void share_storage(Plan& plan);

}  // namespace rf
