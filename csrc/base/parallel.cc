#include "base/parallel.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "base/denormals.h"
#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rf {
namespace {

constexpr int kMostThreads = 4096;
constexpr int kLooks = 2000;  // before a thread sleeps: some 50 us

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::atomic<int> wanted{1};

// The threads and the loop that they work on. A part is claimed by moving `ticket`, which holds the number of the loop,
// of its parts and of the next part: a thread that comes late finds another loop, or no part left, and touches nothing.
// While a claimed part is not done, the loop's own thread waits, so what the ticket belongs to does not change.
class Pool {
 public:
  // False where a loop is under way already.
  bool run(int64_t n, int parts, void* body, detail::Part call) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    grow(parts - 1);
    n_.store(n, std::memory_order_relaxed);
    body_.store(body, std::memory_order_relaxed);
    call_.store(call, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    error_ = nullptr;
    const uint64_t loop = ++loop_ & 0xffffffff;
    ticket_.store(loop << 32 | static_cast<uint64_t>(parts) << 16, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    while (claim(loop)) {
    }
    for (int look = 0; done_.load(std::memory_order_acquire) < parts; ++look)
      if (look < kLooks)
        pause();
      else
        std::this_thread::yield();
    const std::exception_ptr error = error_;
    busy_.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
    return true;
  }

 private:
  static int64_t parts(uint64_t ticket) { return static_cast<int64_t>(ticket >> 16 & 0xffff); }
  static int64_t next(uint64_t ticket) { return static_cast<int64_t>(ticket & 0xffff); }

  // Does one part of the loop; false where none is left.
  bool claim(uint64_t loop) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      if (ticket >> 32 != loop || next(ticket) >= parts(ticket)) return false;
    } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire));
    const int64_t part = next(ticket), n = n_.load(std::memory_order_relaxed);
    const int64_t each = n / parts(ticket), rest = n % parts(ticket);
    const int64_t begin = part * each + (part < rest ? part : rest);
    try {
      call_.load(std::memory_order_relaxed)(body_.load(std::memory_order_relaxed), begin, begin + each + (part < rest),
                                            static_cast<int>(part));
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_acq_rel);
    return true;
  }

  void grow(int threads) {
    for (; threads_ < threads; ++threads_) std::thread([this] { work(); }).detach();
  }

  [[noreturn]] void work() {
    FlushDenormals flush;
    uint64_t seen = 0;
    for (;;) {
      uint64_t loop = ticket_.load(std::memory_order_acquire) >> 32;
      for (int look = 0; loop == seen && look < kLooks; ++look) {
        pause();
        loop = ticket_.load(std::memory_order_acquire) >> 32;
      }
      if (loop == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return (loop = ticket_.load(std::memory_order_seq_cst) >> 32) != seen; });
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
      }
      seen = loop;
      while (claim(loop)) {
      }
    }
  }

  std::atomic<bool> busy_{false};
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int64_t> n_{0};
  std::atomic<void*> body_{nullptr};
  std::atomic<detail::Part> call_{nullptr};
  std::atomic<int> done_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::exception_ptr error_;  // written under the mutex, read when all parts are done
  uint64_t loop_ = 0;         // written by whoever holds busy_
  int threads_ = 0;
};

// Never destroyed: its threads may outlive static objects. A child of fork has none of the threads, so it gets another.
std::atomic<Pool*> the_pool{nullptr};

Pool& pool() {
  static const bool once = [] {
    the_pool.store(new Pool);
    pthread_atfork(nullptr, nullptr, [] { the_pool.store(new Pool); });
    return true;
  }();
  (void)once;
  return *the_pool.load(std::memory_order_acquire);
}

}  // namespace

void set_intra_op_threads(int threads) {
  check(threads >= 1 && threads <= kMostThreads, "[intra_op_threads] 1 to ", kMostThreads, " threads: got ", threads);
  wanted.store(threads, std::memory_order_relaxed);
}

int intra_op_threads() { return wanted.load(std::memory_order_relaxed); }

void detail::run_parts(int64_t n, int parts, void* body, Part call) {
  if (!pool().run(n, parts, body, call)) call(body, 0, n, 0);
}

}  // namespace rf
