// Resources held by kernels from step to step.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/kernel.h"

namespace rf {

// A resource looked up once and again only after a container was reset: a step pays two comparisons. Copies share what
// they have found. Thread-safe: the calls of a kernel may overlap. Invariant: what was found once is kept as long as the
// kernel, because another call may still be using it.
template <class R>
class Cached {
 public:
  template <class Find>
  R& get(Resources& resources, Find find) {
    const uint64_t version = resources.version();
    const Found* last = kept_->last.load(std::memory_order_acquire);
    if (__builtin_expect(last && last->owner == &resources && last->version == version, 1)) return *last->resource;
    auto found = std::make_unique<Found>(Found{find(), &resources, version});
    std::lock_guard<std::mutex> lock(kept_->mutex);
    kept_->all.push_back(std::move(found));
    last = kept_->all.back().get();
    kept_->last.store(last, std::memory_order_release);
    return *last->resource;
  }

 private:
  struct Found {
    std::shared_ptr<R> resource;
    const Resources* owner;
    uint64_t version;
  };
  struct Kept {
    std::atomic<const Found*> last{nullptr};
    std::mutex mutex;
    std::vector<std::unique_ptr<const Found>> all;
  };

  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();
};

}  // namespace rf
