// A callable that is stored in place: std::function allocates for what a collective captures.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace rf {

// Moved, never copied; holds any callable of at most kBytes.
class Task {
 public:
  static constexpr size_t kBytes = 112;

  Task() = default;
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Task>>>
  Task(F&& f) {  // NOLINT: a callable is a task
    using Callable = std::decay_t<F>;
    static_assert(sizeof(Callable) <= kBytes && alignof(Callable) <= alignof(std::max_align_t),
                  "capture less, or raise kBytes");
    new (storage_) Callable(std::forward<F>(f));
    call_ = [](void* p) { (*static_cast<Callable*>(p))(); };
    move_ = [](void* from, void* to) {  // to null: only destroys
      auto* callable = static_cast<Callable*>(from);
      if (to) new (to) Callable(std::move(*callable));
      callable->~Callable();
    };
  }
  Task(Task&& other) noexcept { take(other); }
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ~Task() { clear(); }

  void operator()() { call_(storage_); }
  void clear() {
    if (move_) move_(storage_, nullptr);
    call_ = nullptr;
    move_ = nullptr;
  }

 private:
  void take(Task& other) {
    if (other.move_) other.move_(other.storage_, storage_);
    call_ = std::exchange(other.call_, nullptr);
    move_ = std::exchange(other.move_, nullptr);
  }

  alignas(std::max_align_t) char storage_[kBytes];
  void (*call_)(void*) = nullptr;
  void (*move_)(void*, void*) = nullptr;
};

}  // namespace rf
