// Agreement over a transport: all ranks are about to run the same collective, or every one of them throws.
//
// Dissemination: in step k rank r tells rank r + 2^k what it knows of the signatures of the 2^k ranks up to itself.
//   Steps: ceil(log2 p) of one small message (about 120 bytes) a rank; also a barrier.
// Nothing else has been sent when it throws, so the ranks stay in step. Ranks on windows use Windows::meet instead.
// Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization", IJPP 17 (1988).
#pragma once

#include "collectives/group.h"
#include "collectives/reduction.h"

namespace rf {

// What a call compares with those of the other ranks. `count`: elements, or bytes without a dtype.
Signature signature_of(Operation operation, int64_t count, DType dtype = DType::Invalid);
Signature signature_of(Operation operation, int64_t count, DType dtype, Reduction reduction);

// Compares Watch::signature() of all members. Throws InvalidArgument on every one, naming two that differ.
void agree(Group& group);

}  // namespace rf
