// What a node is to the data-flow schedule.
#pragma once

#include <cstdint>
#include <string>

namespace rf {

enum class Role : uint8_t {
  Kernel,
  Async,
  Constant,
  Argument,
  Result,
  Nothing,  // NoOp, ControlTrigger
  Gate,
  Forward,  // passes its input on: LoopCond
  Switch,
  Merge,
  Enter,
  Exit,
  NextIteration,
};

Role role_of(const std::string& op);
inline bool is_control_flow(Role role) { return role >= Role::Forward; }
// Ops that meet other ranks, in the same order everywhere.
bool is_collective(const std::string& op);

}  // namespace rf
