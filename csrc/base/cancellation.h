// How a run is stopped: whoever blocks registers a callback, and the first error of the run calls them all, once.
//
// Thread-safe. Callbacks run on the thread that cancels, without any lock of this class held; after `forget` has
// returned, the callback is neither running nor will it run (so it may own what the caller is about to destroy).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

namespace rf {

class Cancellation {
 public:
  using Token = int64_t;

  // A token for `forget`; 0 where the run is cancelled already, and `callback` will then never be called.
  Token on_cancel(std::function<void()> callback);
  // True where the callback will not run. False where it has run: waits until it has returned. Not from a callback.
  bool forget(Token token);
  // The same without waiting: the callback may be running, and so must own all that it touches. From anywhere.
  void drop(Token token);
  // Calls the callbacks. A second cancel does nothing.
  void cancel();
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  // Ready for the next run. There must be no callbacks left.
  void reset();

 private:
  std::mutex mutex_;
  std::condition_variable called_;
  std::atomic<bool> cancelled_{false};
  bool calling_ = false;
  Token next_ = 1;
  std::map<Token, std::function<void()>> callbacks_;
};

}  // namespace rf
