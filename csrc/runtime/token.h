// What travels along an edge: the contents of a Slot (a tensor, a reference to a variable, a handle to a resource).
#pragma once

#include <utility>

#include "kernels/kernel.h"

namespace rf {

inline void clear(Slot& slot) {
  slot.own.reset();
  slot.tensor = &slot.own;
  slot.variable = nullptr;
  if (slot.resource) slot.resource.reset();
}

inline bool empty(const Slot& slot) {
  return !slot.own.initialized() && !slot.variable && !slot.resource;
}

// Gives the token in `from` to the empty slot `to`; `from` may be left without it if `last`. A reference to a variable
// arrives as such if `as_ref`, else as the value that it has now.
inline void pass(Slot& from, Slot& to, bool as_ref, bool last) {
  if (from.tensor != &from.own) {
    if (as_ref)
      to.tensor = from.tensor;
    else
      to.own = *from.tensor;
  } else if (last) {
    to.own = std::move(from.own);
  } else {
    to.own = from.own;
  }
  if (as_ref) to.variable = from.variable;
  if (!from.resource) return;
  if (last)
    to.resource = std::move(from.resource);
  else
    to.resource = from.resource;
}

}  // namespace rf
