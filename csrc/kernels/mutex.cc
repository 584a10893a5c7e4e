// MutexV2, MutexLock, ConsumeMutexLock: a lock that operations hold, in this run or another, served in order.
//
// MutexLock gives a value that is the lock: ConsumeMutexLock ends it, and so does the death of the value when a run fails.
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "kernels/state.h"
#include "kernels/waiting.h"

namespace rf {
namespace {

class Mutex : public Waiting {
 public:
  Mutex() : Waiting(1) {}

  void lock(Context& c, Done done);
  void unlock() {
    change([this](auto&) { held_ = false; });
  }

 private:
  struct Lock;
  bool held_ = false;  // under mutex_
};

// What MutexLock gives.
class Held : public Resource {
 public:
  explicit Held(std::shared_ptr<Mutex> mutex) : mutex_(std::move(mutex)) {}
  ~Held() override { release(); }
  void release() {
    if (!released_.exchange(true)) mutex_->unlock();
  }

 private:
  const std::shared_ptr<Mutex> mutex_;
  std::atomic<bool> released_{false};
};

struct Mutex::Lock : Attempt {
  Lock(Mutex& mutex, Context& c) : mutex(mutex), context(c) {}
  Step step() override {
    if (mutex.held_) return Step::Waits;
    mutex.held_ = true;
    return Step::Done;
  }
  void finish() override {
    context.set_resource_output(0, std::make_shared<Held>(std::static_pointer_cast<Mutex>(mutex.shared_from_this())));
  }
  Mutex& mutex;
  Context& context;
};

void Mutex::lock(Context& c, Done done) {
  start(0, std::make_shared<Lock>(*this, c), {c.run().cancellation, -1, "MutexLock operation"}, std::move(done));
}

Kernel mutex(const Node& node) {
  const std::string container = node.attr<std::string>("container", "");
  const std::string shared_name = node.attr<std::string>("shared_name", "");
  const std::string name = shared_name.empty() ? node.name : shared_name;
  return [container, name, found = Cached<Mutex>()](Context& c) mutable {
    Mutex& mutex = found.get(c.resources(), [&] { return c.resources().find_or_create<Mutex>(container, name); });
    c.set_resource_output(0, mutex.shared_from_this());
  };
}

AsyncKernel lock(const Node&) {
  return [](Context& c, Done done) {
    std::shared_ptr<Mutex> mutex;
    if (succeeds(done, [&] { mutex = c.resource<Mutex>(0); })) mutex->lock(c, std::move(done));
  };
}

Kernel consume_lock(const Node&) {
  return [](Context& c) { c.resource<Held>(0)->release(); };
}

RF_KERNEL_ANY("MutexV2", None, mutex)
RF_KERNEL_ASYNC("MutexLock", lock)
RF_KERNEL_ANY("ConsumeMutexLock", None, consume_lock)

}  // namespace
}  // namespace rf
