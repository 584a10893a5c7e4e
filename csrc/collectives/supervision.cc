// The part of a communicator that looks after the processes, on a thread of its own: it sees a peer die while nobody
// waits for it, and learns that a peer waits for this rank. It reads shared words and pidfds and makes no MPI call
// until a peer has died.
#include <algorithm>
#include <thread>

#include "collectives/communicator.h"

namespace rf {
namespace {
constexpr int kLookMs = 100;
constexpr double kLeastOverdueS = 10;
constexpr double kLastWordsS = 1;  // for a job under way to listen
constexpr int kLooks = 4;          // MPI may need one look to fetch a notice and another to show it
}

void Communicator::set_peers(std::vector<Peer> peers) {
  check(peers.size() == static_cast<size_t>(size_) && !peers_, "[communicator] a peer for each of ", size_,
        " ranks is needed once, got ", peers.size());
  peers_ = std::make_unique<Peers>(rank_, std::move(peers));
  watch_->set_peers(peers_.get());
}

// What a rank said before it died stands in the block of its node. Without one it was a notice, which may wait here unread:
// nobody listens between collectives, and a thread that waits in one may not have run since.
void Communicator::hear_last_words(int from) {
  if (all_share()) return;
  if (windows_ && options_.nodes[static_cast<size_t>(from)] == options_.nodes[static_cast<size_t>(rank_)]) {
    const ControlBlock& block = windows_->control();
    if (block.aborted()) watch_->record_abort(block.aborted_by(), block.abort_text());
    return;
  }
  const uint64_t enough = watch_->listened() + kLooks;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(kLastWordsS);
  while (!closed_ && !control_->aborted() && watch_->listened() < enough && std::chrono::steady_clock::now() < end &&
         control_->member(from).presence.load(std::memory_order_acquire) == Presence::Running) {
    if (!progress_->run_soon([&] { watch_->listen(); }, 0.0))
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // the job under way listens while it waits
  }
}

const char* Communicator::supervise() {
  while (!closed_) {
    int ended = -1;
    if (peers_)
      ended = peers_->wait_ended(kLookMs);
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(kLookMs));
    if (ended >= 0) hear_last_words(ended);
    if (closed_) break;
    if (ended >= 0 && control_->member(ended).presence.load(std::memory_order_acquire) == Presence::Running) {
      const std::string name = peers_->name(ended), seen = control_->member(ended).last_seen();
      const std::string what = text(name, " has died without a word (killed, or os._exit)", seen.empty() ? "" : ", ",
                                    seen);
      // Every rank says it, but not of those that die while the job is being ended.
      if (!control_->aborted() || control_->abort_text().find(name) == 0) {
        say(text("ringflow: rank ", rank_, "/", size_, " on ", peers_->host(rank_), ": ", what));
        abort(what);
        return "died";
      }
    }
    if (control_->aborted()) {
      const auto now = std::chrono::steady_clock::now();
      if (aborted_since_ == std::chrono::steady_clock::time_point()) aborted_since_ = now;
      if (std::chrono::duration<double>(now - aborted_since_).count() > std::max(options_.timeout_s, kLeastOverdueS))
        return "overdue";
    }
    const uint64_t wanted = control_->member(rank_).stacks_wanted_for.load(std::memory_order_acquire);
    if (wanted > stacks_shown_for_) {
      stacks_shown_for_ = wanted;
      return "stacks";
    }
  }
  return "closed";
}

}  // namespace rf
