// Things that outlive a run: variables, random-number streams, communicators (later: queues, mutexes, readers).
//
// A Resources object belongs to a session (or a server); resources live in named containers, and
// `reset` drops one container. Thread-safe.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor.h"

namespace rf {

struct Resource {
  virtual ~Resource() = default;
};

struct Variable : Resource {
  Tensor value;  // uninitialised until the first Assign
};

class Resources {
 public:
  // The resource of that name, made by `make()` (-> std::shared_ptr<R>) on first use.
  // FailedPrecondition where the name is taken by a resource of another type.
  template <class R, class Make>
  std::shared_ptr<R> find_or_create(const std::string& container, const std::string& name, Make make) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Resource>& slot = containers_[container][name];
    if (!slot) {
      slot = make();
      used_.store(true, std::memory_order_relaxed);
    }
    auto typed = std::dynamic_pointer_cast<R>(slot);
    if (!typed)
      fail(Code::FailedPrecondition, "resource '", name, "' in container '", container, "' exists with another type");
    return typed;
  }
  template <class R>
  std::shared_ptr<R> find_or_create(const std::string& container, const std::string& name) {
    return find_or_create<R>(container, name, [] { return std::make_shared<R>(); });
  }

  // Null where absent.
  std::shared_ptr<Resource> find(const std::string& container, const std::string& name) const {
    std::lock_guard<std::mutex> lock(mutex_);
    auto c = containers_.find(container);
    if (c == containers_.end()) return nullptr;
    auto r = c->second.find(name);
    return r == c->second.end() ? nullptr : r->second;
  }

  // Every (container, name), sorted.
  std::vector<std::pair<std::string, std::string>> names() const {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::pair<std::string, std::string>> all;
    for (const auto& [container, resources] : containers_)
      for (const auto& entry : resources) all.emplace_back(container, entry.first);
    return all;
  }

  // Drops a container. Plans hold their resources by pointer and look them up again when `version` moved.
  void reset(const std::string& container) {
    std::lock_guard<std::mutex> lock(mutex_);
    containers_.erase(container);
    version_.fetch_add(1, std::memory_order_release);
  }
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // Whether there ever was a resource: a run that makes none need not drop any.
  bool used() const { return used_.load(std::memory_order_relaxed); }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, std::shared_ptr<Resource>>> containers_;
  std::atomic<uint64_t> version_{0};
  std::atomic<bool> used_{false};
};

}  // namespace rf
