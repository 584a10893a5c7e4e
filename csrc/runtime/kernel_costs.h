// What the kernels of a plan have cost of late, to tell which are worth another thread. Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "runtime/dataflow_plan.h"

namespace rf {

class KernelCosts {
 public:
  explicit KernelCosts(const FlowPlan& plan)
      : first_(plan.nodes.data()), ns_(new std::atomic<uint32_t>[plan.nodes.size()]) {
    for (size_t i = 0; i < plan.nodes.size(); ++i) ns_[i].store(4 * kCostlyNs, std::memory_order_relaxed);
  }
  bool costly(const FlowNode& node) const { return of(node).load(std::memory_order_relaxed) >= kCostlyNs; }
  // A call took so long. The estimate follows within a few calls.
  void add(const FlowNode& node, int64_t ns) {
    const uint32_t last = of(node).load(std::memory_order_relaxed);
    const uint32_t now = static_cast<uint32_t>(std::min<int64_t>(ns, 1 << 30));
    of(node).store(last - last / 4 + now / 4, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kCostlyNs = 10000;  // a few times what it takes to wake a thread
  std::atomic<uint32_t>& of(const FlowNode& node) const { return ns_[static_cast<size_t>(node.node - first_)]; }

  const Node* const first_;
  const std::unique_ptr<std::atomic<uint32_t>[]> ns_;
};

}  // namespace rf
