#include "runtime/dataflow_role.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>

namespace rf {

Role role_of(const std::string& op) {
  static const std::unordered_map<std::string, Role> roles = {
      {"_Arg", Role::Argument}, {"_Retval", Role::Result}, {"Const", Role::Constant}, {"_Gate", Role::Gate},
      {"NoOp", Role::Nothing}, {"ControlTrigger", Role::Nothing}, {"LoopCond", Role::Forward},
      {"Switch", Role::Switch}, {"RefSwitch", Role::Switch}, {"Merge", Role::Merge}, {"RefMerge", Role::Merge},
      {"Enter", Role::Enter}, {"RefEnter", Role::Enter}, {"Exit", Role::Exit}, {"RefExit", Role::Exit},
      {"NextIteration", Role::NextIteration}, {"RefNextIteration", Role::NextIteration}};
  const auto it = roles.find(op);
  return it == roles.end() ? Role::Kernel : it->second;
}

bool is_collective(const std::string& op) {
  static const char* const ops[] = {"_BucketReduce", "_BucketWait", "_ExactMaxima", "_ExactSum", "_ExactMean",
                                    "_RanksMeet", "_ShareVariable", "CollectiveReduce", "CollectiveBcast",
                                    "CollectiveGather"};
  return std::find(std::begin(ops), std::end(ops), op) != std::end(ops);
}

}  // namespace rf
