// Resources held by kernels from step to step.
#pragma once

#include <memory>

#include "kernels/kernel.h"

namespace rf {

// A resource looked up once and again only after a container was reset: a step pays two comparisons. The kernel object
// that owns it runs in one plan at a time.
template <class R>
class Cached {
 public:
  template <class Find>
  R& get(Resources& resources, Find find) {
    const uint64_t version = resources.version();
    if (__builtin_expect(owner_ != &resources || version_ != version, 0)) {
      found_ = find();
      owner_ = &resources;
      version_ = version;
    }
    return *found_;
  }

 private:
  std::shared_ptr<R> found_;
  const Resources* owner_ = nullptr;
  uint64_t version_ = 0;
};

}  // namespace rf
