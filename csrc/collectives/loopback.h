// Ranks as threads of one process: mailboxes for a transport, the heap for windows.
//
// Threads: each rank's Transport and Windows belong to that rank's thread; the world behind them is thread-safe.
// For tests of everything distributed as plain tests, under sanitizers too.
#pragma once

#include <memory>

#include "collectives/transport.h"
#include "collectives/windows.h"

namespace rf {

class LoopbackWorld;

std::shared_ptr<LoopbackWorld> make_loopback_world(int size);
int size_of(const LoopbackWorld& world);
std::shared_ptr<Transport> loopback_transport(std::shared_ptr<LoopbackWorld> world, int rank);
std::shared_ptr<Windows> loopback_windows(std::shared_ptr<LoopbackWorld> world, int rank);

}  // namespace rf
