// Ranks as threads of one process: mailboxes for a transport, the heap for windows.
//
// A world may pretend to span nodes: windows then exist among the ranks of a node only, and what concerns all (aborts,
// departures) travels as notices, as between machines.
// Threads: each rank's Transport and Windows belong to that rank's thread; the world behind them is thread-safe.
// For tests of everything distributed as plain tests, under sanitizers too.
#pragma once

#include <memory>
#include <vector>

#include "collectives/transport.h"
#include "collectives/windows.h"

namespace rf {

class LoopbackWorld;

// nodes[r]: the node of rank r; empty: one node.
std::shared_ptr<LoopbackWorld> make_loopback_world(int size, std::vector<int> nodes = {});
int size_of(const LoopbackWorld& world);
std::shared_ptr<Transport> loopback_transport(std::shared_ptr<LoopbackWorld> world, int rank);
// Of the ranks of this rank's node.
std::shared_ptr<Windows> loopback_windows(std::shared_ptr<LoopbackWorld> world, int rank);
// The same, for a transport made by loopback_transport or by its `between`.
std::shared_ptr<Windows> loopback_windows(const Transport& transport);

}  // namespace rf
