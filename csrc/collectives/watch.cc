#include "collectives/watch.h"

#include <time.h>

#include <cstring>

namespace rf {
namespace {

constexpr double kDepartureGraceS = 1.0;  // a message of a peer that left may still be on its way

double seconds_since(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

struct NoticeHeader {
  char kind;  // 'a'bort, 'l'eft, 't'old
  int32_t rank;
  uint64_t sequence;
};

std::string join(const std::vector<int>& ranks) {
  std::string s;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (i == 8) return s + " and " + std::to_string(ranks.size() - i) + " more";
    s += (i ? ", " : "") + std::to_string(ranks[i]);
  }
  return s;
}

}  // namespace

Watch::Watch(ControlBlock& control, bool shared, Transport* transport, int rank, int size, double timeout_s)
    : control_(control), shared_(shared), transport_(transport), rank_(rank), size_(size), timeout_s_(timeout_s) {}

std::string Watch::where() const { return text("[", name_of(signature_.operation), "] rank ", rank_, "/", size_); }

void Watch::begin(const Signature& signature) {
  signature_ = signature;
  peer_ = -1;
  if (control_.aborted()) throw_aborted();
  Member& me = control_.member(rank_);
  me.operation.store(static_cast<uint32_t>(signature.operation), std::memory_order_relaxed);
  me.sequence.store(++sequence_, std::memory_order_release);
}

void Watch::begin(const Signature& signature, int peer) {
  signature_ = signature;
  peer_ = peer;
  if (control_.aborted()) throw_aborted();
}

void Watch::until_done(Transport::Request request, int peer) {
  const auto first = std::chrono::steady_clock::now();
  try {
    until([&] { return transport_->done(request); },
          [&] {
            // no event to sleep on: poll, more and more lazily
            const timespec nap{0, seconds_since(first) < 0.01 ? 20000 : 200000};
            nanosleep(&nap, nullptr);
          },
          [&] { return std::vector<int>{peer}; });
  } catch (const Error& e) {
    transport_->cancel(request);
    // a failed request (sizes that differ, a broken link): the others cannot go on either
    if (e.code != Code::Cancelled && !control_.aborted()) abort(e.what());
    throw;
  }
}

bool Watch::looks_bad(Time since) {
  if (!shared_) listen();
  const double waited_s = seconds_since(since);
  return stopped_.load(std::memory_order_relaxed) || control_.aborted() || waited_s > timeout_s_ ||
         (departed() >= 0 && (peer_ < 0 || waited_s > kDepartureGraceS));
}

int Watch::departed() const {
  for (int r = 0; r < size_; ++r) {
    Member& m = control_.member(r);
    if (r == rank_ || m.presence.load(std::memory_order_acquire) == Presence::Running) continue;
    if (peer_ >= 0 ? r == peer_ : m.sequence.load(std::memory_order_acquire) < sequence_) return r;
  }
  return -1;
}

void Watch::throw_aborted() const {
  throw Error(Code::Aborted, text("[", name_of(signature_.operation), "] ", control_.abort_text()));
}

void Watch::give_up(Time since, const std::vector<int>& missing) {
  if (control_.aborted()) throw_aborted();
  const std::string what = signature_.str() + (peer_ < 0 ? text(", collective ", sequence_) : "");
  if (stopped_.load(std::memory_order_relaxed))
    throw Error(Code::Cancelled, text(where(), ": the communicator was closed during ", what));
  const int gone = departed();
  if (gone >= 0) {
    const std::string report = text(where(), ": rank ", gone, " has left the program and cannot join ", what,
                                    ". Fix: every rank must make the same calls before it ends.");
    abort(report);
    throw Error(Code::Aborted, report);
  }
  std::string report = text(where(), " timed out after ", seconds_since(since), " s in ", what,
                            ": waiting for rank ", join(missing));
  if (peer_ < 0 && !missing.empty()) {
    Member& m = control_.member(missing[0]);
    if (const uint64_t seen = m.sequence.load(std::memory_order_acquire))
      report += text("; rank ", missing[0], " was last seen in collective ", seen, " (",
                     name_of(static_cast<Operation>(m.operation.load(std::memory_order_relaxed))), ")");
  }
  report += ". Fix: find out what that rank does instead; RINGFLOW_TIMEOUT_S sets the limit.";
  abort(report);
  throw Error(Code::DeadlineExceeded, report);
}

void Watch::abort(const std::string& reason) {
  control_.abort(rank_, reason);
  send_notice('a', reason);
}

void Watch::announce(Presence presence) {
  control_.member(rank_).presence.store(presence, std::memory_order_release);
  futex_wake_all(control_.generation);
  send_notice(presence == Presence::Left ? 'l' : 't', "");
}

void Watch::send_notice(char kind, const std::string& reason) {
  if (shared_ || !transport_) return;
  const NoticeHeader header{kind, rank_, control_.member(rank_).sequence.load(std::memory_order_relaxed)};
  std::string notice(sizeof header, '\0');
  std::memcpy(&notice[0], &header, sizeof header);
  transport_->announce(notice + reason);
}

void Watch::listen() {
  if (shared_ || !transport_) return;
  std::string notice;
  while (transport_->heard(&notice)) {
    NoticeHeader header;
    if (notice.size() < sizeof header) continue;
    std::memcpy(&header, notice.data(), sizeof header);
    if (header.rank < 0 || header.rank >= size_) continue;
    Member& from = control_.member(header.rank);
    from.sequence.store(header.sequence, std::memory_order_relaxed);
    if (header.kind == 'a')
      control_.abort(header.rank, notice.substr(sizeof header));
    else
      from.presence.store(header.kind == 'l' ? Presence::Left : Presence::Told, std::memory_order_release);
  }
}

}  // namespace rf
