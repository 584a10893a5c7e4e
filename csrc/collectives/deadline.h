// A deadline for what cannot be watched: a library's call that blocks, with or without the GIL (MPI_Init).
//
// A thread of its own says the warning at `warn_s`, and at `limit_s` the report, then ends the process with code 1.
// Destroying it in time ends the thread. Never touches MPI or Python.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace rf {

class Deadline {
 public:
  Deadline(double warn_s, std::string warning, double limit_s, std::string report);
  ~Deadline() { cancel(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  void cancel();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  std::thread thread_;
};

}  // namespace rf
