#include "collectives/watch.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace rf {
namespace {

constexpr double kKeenS = 0.0005;
constexpr int kTestCost = 16;             // a look at MPI costs a microsecond, with TCP below it a system call too
constexpr double kDepartureGraceS = 1.0;  // a message of a peer that left may still be on its way
constexpr double kAnswerS = 0.25;         // for the others' answers to arrive
constexpr size_t kMostDescribed = 3;

double seconds_since(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

struct NoticeHeader {
  char kind;  // 'a'bort, 'l'eft, 't'old, 'w'here are you, 'h'ere
  int32_t rank, bucket;
  uint32_t operation;
  int64_t step;
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
  members_ = nullptr;
  voice_ = Voice::Silent;
  if (control_.aborted()) throw_aborted();
  control_.member(rank_).enter(++sequence_, signature);
}

void Watch::begin(const Signature& signature, int peer) {
  signature_ = signature;
  peer_ = peer;
  members_ = nullptr;
  voice_ = Voice::Silent;
  if (control_.aborted()) throw_aborted();
}

void Watch::begin(const Signature& signature, const std::vector<int>* members) {
  begin(signature, -1);
  members_ = members;
}

void Watch::until_done(Transport& transport, Transport::Request request, int peer) {
  const auto first = std::chrono::steady_clock::now();
  try {
    until([&] { return transport.done(request); },
          [&] {
            // No event to sleep on: poll, more and more lazily. A nap takes 70 us at least, a message between hosts
            // hardly longer: at first a job that is awaited only lets others pass.
            const double waited_s = seconds_since(first);
            if (waited_s < kKeenS && may_spin()) {
              sched_yield();
              return;
            }
            const timespec nap{0, waited_s < 0.01 ? 20000 : 200000};
            nanosleep(&nap, nullptr);
          },
          [&] { return std::vector<int>{peer}; }, kTestCost);
  } catch (const Error& e) {
    transport.cancel(request);
    // a failed request (sizes that differ, a broken link): the others cannot go on either
    if (e.code != Code::Cancelled && !control_.aborted()) abort(e.what());
    throw;
  }
}

bool Watch::looks_bad(Time since) {
  // Where the block is shared, too: MPI may still have to push out what a finished send has left behind.
  listen();
  const double waited_s = seconds_since(since);
  return stopped_.load(std::memory_order_relaxed) || control_.aborted() || waited_s > timeout_s_ ||
         (departed() >= 0 && (counted() || waited_s > kDepartureGraceS));
}

int Watch::departed() const {
  for (int r = 0; r < size_; ++r) {
    Member& m = control_.member(r);
    if (r == rank_ || m.presence.load(std::memory_order_acquire) == Presence::Running) continue;
    const bool wanted = members_ ? std::find(members_->begin(), members_->end(), r) != members_->end()
                                 : peer_ >= 0 ? r == peer_ : m.sequence.load(std::memory_order_acquire) < sequence_;
    if (wanted) return r;
  }
  return -1;
}

void Watch::throw_aborted() const {
  throw Error(Code::Aborted, text("[", name_of(signature_.operation), "] ", control_.abort_text()));
}

void Watch::give_up(const std::vector<int>& missing) {
  if (control_.aborted()) throw_aborted();
  if (stopped_.load(std::memory_order_relaxed))
    throw Error(Code::Cancelled, text(where(), ": the communicator was closed during ", place()));
  const int gone = departed();
  if (gone >= 0) {
    const std::string report = text(where_on_host(), ": rank ", gone, " has left the program and cannot join ", place(),
                                    ". Fix: every rank must make the same calls before it ends.");
    abort(report);
    throw Error(Code::Aborted, report);
  }
  std::string report = text(where_on_host(), " timed out after ", timeout_s_, " s in ", place(), ": ", blame(missing),
                            ". Fix: find out what that rank does instead; RINGFLOW_TIMEOUT_S sets the limit.");
  if (voice_ != Voice::Warned) {
    want_stacks(missing);
    const timespec nap{0, static_cast<long>(kAnswerS * 1e9)};  // to print them, before the abort ends that rank
    nanosleep(&nap, nullptr);
  }
  abort(report);
  throw Error(Code::DeadlineExceeded, report);
}

bool Watch::is_late(Time since) const {
  if (voice_ == Voice::Warned) return false;
  const double waited_s = seconds_since(since);
  if (shared_) return waited_s > warn_s_;
  // The others are asked first, early enough for a limit below the warning time too.
  const double asks_s = std::min(std::max(warn_s_ - kAnswerS, warn_s_ / 2), timeout_s_ / 2);
  return waited_s > (voice_ == Voice::Silent ? asks_s : std::max(warn_s_, asks_s + kAnswerS));
}

void Watch::speak_up(Time since, const std::vector<int>& awaited) {
  if (!shared_ && voice_ == Voice::Silent) {
    voice_ = Voice::Asked;
    send_notice('w', "");
    return;
  }
  voice_ = Voice::Warned;
  warned_ = true;
  char waited[32];
  std::snprintf(waited, sizeof waited, "%.3g", seconds_since(since));
  say(text("ringflow: warning: ", where_on_host(), " has waited ", waited, " s in ", place(), ": ", blame(awaited)));
  want_stacks(awaited);
}

void Watch::say_relieved(Time since) {
  warned_ = false;
  char waited[32];
  std::snprintf(waited, sizeof waited, "%.3g", seconds_since(since));
  say(text("ringflow: ", where_on_host(), " goes on after ", waited, " s in ", place()));
}

std::vector<int> Watch::absent() const {
  std::vector<int> ranks;
  if (!counted()) return ranks;
  bool heard = shared_;  // of a private block only what others have answered is known
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    if (control_.member(r).sequence.load(std::memory_order_acquire) < sequence_)
      ranks.push_back(r);
    else
      heard = true;
  }
  return heard || size_ == 2 ? ranks : std::vector<int>();
}

std::string Watch::blame(const std::vector<int>& awaited) const {
  const std::vector<int> missing = absent();
  const std::vector<int>& ranks = missing.empty() ? awaited : missing;
  const bool one = ranks.size() == 1;
  std::string s = text(one ? "rank " : "ranks ", join(ranks), one ? " has " : " have ",
                       !counted() ? "not answered" : missing.empty() ? "joined but not finished its part" : "not joined");
  for (size_t i = 0; i < std::min(ranks.size(), kMostDescribed); ++i) {
    const std::string seen = control_.member(ranks[i]).last_seen();
    const std::string condition = peers_ ? peers_->condition(ranks[i]) : "";
    if (seen.empty() && condition.empty()) continue;
    s += one ? (seen.empty() ? "" : ", ") : text(i ? ", " : ": ", "rank ", ranks[i], " ");
    s += seen;
    if (!condition.empty()) s += text(one || !seen.empty() ? " and " : "", condition);
  }
  return s;
}

void Watch::want_stacks(const std::vector<int>& awaited) {
  if (!shared_) return;
  const std::vector<int> missing = absent();
  for (int r : missing.empty() ? awaited : missing)
    control_.member(r).stacks_wanted_for.store(std::max<uint64_t>(sequence_, 1), std::memory_order_release);
}

std::string Watch::where_on_host() const {
  return peers_ ? text(where(), " (", peers_->host(rank_), ")") : where();
}

std::string Watch::place() const {
  return !counted() ? signature_.str() : text("collective ", sequence_, " (", signature_.arguments(), ")");
}

bool Watch::record_abort(int rank, const std::string& reason) {
  const bool first = control_.abort(rank, reason);
  if (first && node_block_) node_block_->abort(rank, reason);
  return first;
}

void Watch::abort(const std::string& reason) {
  record_abort(rank_, reason);
  send_notice('a', reason);
}

void Watch::announce(Presence presence) {
  control_.member(rank_).presence.store(presence, std::memory_order_release);
  futex_wake_all(control_.generation);
  send_notice(presence == Presence::Left ? 'l' : 't', "");
}

void Watch::send_notice(char kind, const std::string& reason) {
  if (shared_ || !transport_) return;
  const Member& me = control_.member(rank_);
  const auto relaxed = std::memory_order_relaxed;
  const NoticeHeader header{kind, rank_, me.bucket.load(relaxed), me.operation.load(relaxed), me.step.load(relaxed),
                            me.sequence.load(relaxed)};
  std::string notice(sizeof header, '\0');
  std::memcpy(&notice[0], &header, sizeof header);
  transport_->announce(notice + reason);
}

void Watch::listen() {
  if (!transport_) return;
  std::string notice;
  while (transport_->heard(&notice)) {
    NoticeHeader header;
    if (notice.size() < sizeof header) continue;
    std::memcpy(&header, notice.data(), sizeof header);
    if (header.rank < 0 || header.rank >= size_) continue;
    Member& from = control_.member(header.rank);
    Signature seen;
    seen.operation = static_cast<Operation>(header.operation);
    seen.bucket = header.bucket;
    seen.step = header.step;
    from.enter(header.sequence, seen);
    if (header.kind == 'a') {
      record_abort(header.rank, notice.substr(sizeof header));
    } else if (header.kind == 'l' || header.kind == 't') {
      from.presence.store(header.kind == 'l' ? Presence::Left : Presence::Told, std::memory_order_release);
    } else if (header.kind == 'w' && voice_ == Voice::Silent && answered_ != sequence_) {
      answered_ = sequence_;  // once: a question of ours has told everybody the same
      send_notice('h', "");
    }
  }
  listened_.fetch_add(1, std::memory_order_release);
}

void throw_different(const Watch& watch, int rank, const Signature& signature, int other, const Signature& different) {
  fail(Code::InvalidArgument, watch.where(), ": the ranks call different collectives as number ", watch.sequence(),
       ": rank ", rank, " ", signature.str(), ", rank ", other, " ", different.str(),
       ". Fix: make every rank call the same collectives with the same shapes in the same order.");
}

}  // namespace rf
