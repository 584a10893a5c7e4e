// What a rank knows of the others' processes: their hosts, and on its own node whether they are alive.
//
// A process that is killed says nothing; the kernel does: a pidfd becomes readable the moment its process ends, also
// while its parent has not reaped it. Linux 5.3; without it kill(pid, 0) is asked, which sees reaped processes only.
// Threads: `wait_ended` by one thread at a time, the rest by any.
#pragma once

#include <string>
#include <vector>

#include <poll.h>

namespace rf {

struct Peer {
  std::string host;
  int pid = 0;
  bool same_node = false;  // its pid means something here
};

class Peers {
 public:
  Peers(int rank, std::vector<Peer> peers);  // by rank
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  // "node7"
  const std::string& host(int rank) const { return peers_[static_cast<size_t>(rank)].host; }
  // "rank 3 (node7, pid 88)"
  std::string name(int rank) const;
  // "is stopped by a signal", where it is; "" where nothing is known.
  std::string condition(int rank) const;
  // A rank whose process has ended; -1 where there is none within timeout_ms. Each is told once.
  int wait_ended(int timeout_ms);

 private:
  const int rank_;
  const std::vector<Peer> peers_;
  std::vector<pollfd> files_;    // a pidfd a rank; -1: not on this node, or told
  std::vector<int> unwatched_;   // ranks of this node without a pidfd
};

}  // namespace rf
