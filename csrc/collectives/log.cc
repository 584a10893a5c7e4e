#include "collectives/log.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace rf {
namespace {

std::atomic<int> file{-1};

std::string now() {
  const time_t seconds = time(nullptr);
  tm local;
  localtime_r(&seconds, &local);
  char text[32];
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S ", &local);
  return text;
}

void write_to(int to, const std::string& text) {
  if (write(to, text.data(), text.size()) < 0) return;  // nobody listens, or the disk is full
}

}  // namespace

void say(const std::string& line) {
  write_to(STDERR_FILENO, line + "\n");
  note(line);
}

void note(const std::string& text) {
  const int to = file.load();
  if (to >= 0) write_to(to, now() + text + "\n");
}

void log_to(const std::string& path) {
  int next = -1;
  if (!path.empty()) {
    next = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    check(next >= 0, "[log] cannot write ", path, ": ", std::strerror(errno), ". Fix: RINGFLOW_LOG_DIR.");
  }
  const int before = file.exchange(next);
  if (before >= 0) close(before);
}

}  // namespace rf
