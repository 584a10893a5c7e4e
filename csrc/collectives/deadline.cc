#include "collectives/deadline.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "collectives/watch.h"

namespace rf {

Deadline::Deadline(double warn_s, std::string warning, double limit_s, std::string report) {
  thread_ = std::thread([this, warn_s, limit_s, warning = std::move(warning), report = std::move(report)] {
    const auto begin = std::chrono::steady_clock::now();
    const auto passes = [&](double seconds) {
      std::unique_lock<std::mutex> lock(mutex_);
      return !changed_.wait_until(lock, begin + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                                    std::chrono::duration<double>(seconds)),
                                  [&] { return cancelled_; });
    };
    if (warn_s < limit_s) {
      if (!passes(warn_s)) return;
      say(warning);
    }
    if (!passes(limit_s)) return;
    say(report);
    _exit(1);
  });
}

void Deadline::cancel() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace rf
