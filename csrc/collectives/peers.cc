#include "collectives/peers.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace rf {
namespace {

int open_pidfd(int pid) {
#if defined(SYS_pidfd_open)
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
#else
  errno = ENOSYS;
  return -1;
#endif
}

// The letter after the parenthesis of /proc/<pid>/stat; 0 where there is no such process.
char state_of(int pid) {
  char path[64], line[512];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  std::FILE* file = std::fopen(path, "r");
  if (!file) return 0;
  const size_t n = std::fread(line, 1, sizeof line - 1, file);
  std::fclose(file);
  line[n] = 0;
  const char* end = std::strrchr(line, ')');  // the name before it may hold anything
  return end && end[1] == ' ' ? end[2] : 0;
}

}  // namespace

Peers::Peers(int rank, std::vector<Peer> peers) : rank_(rank), peers_(std::move(peers)) {
  for (size_t r = 0; r < peers_.size(); ++r) {
    pollfd file{-1, POLLIN, 0};
    if (static_cast<int>(r) != rank_ && peers_[r].same_node) {
      file.fd = open_pidfd(peers_[r].pid);
      if (file.fd < 0) unwatched_.push_back(static_cast<int>(r));
    }
    files_.push_back(file);
  }
}

Peers::~Peers() {
  for (const pollfd& file : files_)
    if (file.fd >= 0) close(file.fd);
}

std::string Peers::name(int rank) const {
  const Peer& peer = peers_[static_cast<size_t>(rank)];
  return "rank " + std::to_string(rank) + " (" + peer.host + ", pid " + std::to_string(peer.pid) + ")";
}

std::string Peers::condition(int rank) const {
  const Peer& peer = peers_[static_cast<size_t>(rank)];
  if (!peer.same_node) return "";
  switch (state_of(peer.pid)) {
    case 'T': case 't': return "is stopped by a signal";
    case 'Z': case 'X': case 0: return "its process has ended";
    default: return "";
  }
}

int Peers::wait_ended(int timeout_ms) {
  poll(files_.data(), files_.size(), timeout_ms);
  for (size_t r = 0; r < files_.size(); ++r) {
    if (files_[r].fd < 0 || !(files_[r].revents & POLLIN)) continue;
    close(files_[r].fd);
    files_[r].fd = -1;
    return static_cast<int>(r);
  }
  for (size_t i = 0; i < unwatched_.size(); ++i) {
    const int r = unwatched_[i];
    if (kill(peers_[static_cast<size_t>(r)].pid, 0) == 0 || errno != ESRCH) continue;
    unwatched_.erase(unwatched_.begin() + static_cast<std::ptrdiff_t>(i));
    return r;
  }
  return -1;
}

}  // namespace rf
