// Windows in POSIX shared memory, for processes of one node.
//
// A segment has a name in /dev/shm only while the ranks attach; then it is unlinked and lives as long as its mappings,
// so that nothing is left behind by a job that is killed. Each rank reserves its own window, which places it on its
// NUMA node, so that a full /dev/shm is an error here and not a SIGBUS later.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "collectives/transport.h"
#include "collectives/windows.h"

namespace rf {

// Collective over all ranks of `transport`, which must be on one node. `job` becomes part of the segments' names.
// Null on every rank, with the reason in `problem`, where the memory cannot be had.
std::shared_ptr<Windows> join_shared_memory(Transport& transport, const std::string& job, double timeout_s,
                                            std::string* problem);
// The same for ranks of several nodes, nodes[r] that of rank r: windows of this rank's node, or null on every rank.
std::shared_ptr<Windows> join_node_memory(Transport& transport, const std::vector<int>& nodes, const std::string& job,
                                          double timeout_s, std::string* problem);

}  // namespace rf
