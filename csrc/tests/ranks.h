// Ranks as threads for the C++ tests, and what they contribute.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/loopback.h"

namespace rf::test {

// body(communicator) on p threads; nodes[r]: the node of rank r, empty: one.
inline void on_ranks(int p, Algorithm algorithm, double timeout_s, const std::function<void(Communicator&)>& body,
                     const std::vector<int>& nodes = {}) {
  const auto world = make_loopback_world(p, nodes);
  std::vector<std::thread> threads;
  for (int r = 0; r < p; ++r)
    threads.emplace_back([&, r] {
      CommunicatorOptions options;
      options.algorithm = algorithm;
      options.timeout_s = timeout_s;
      options.nodes = nodes;
      options.join = [](Transport& t, const std::vector<int>&, std::string*) { return loopback_windows(t); };
      const auto c = std::make_shared<Communicator>(loopback_transport(world, r), loopback_windows(world, r), options);
      body(*c);
      c->leave();
    });
  for (auto& t : threads) t.join();
}

// Rank r contributes (r + 1) * (i % 7 + 1): every subset of ranks has another sum.
inline int64_t contribution(int rank, int64_t i) { return (rank + 1) * (i % 7 + 1); }
inline int64_t sum(int p, int64_t i) { return p * (p + 1) / 2 * (i % 7 + 1); }

}  // namespace rf::test
