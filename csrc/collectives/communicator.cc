#include "collectives/communicator.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "base/tensor.h"
#include "collectives/agreement.h"

namespace rf {

Communicator::Communicator(std::shared_ptr<Transport> transport, std::shared_ptr<Windows> windows,
                           CommunicatorOptions options)
    : transport_(std::move(transport)), windows_(std::move(windows)), options_(std::move(options)),
      rank_(transport_ ? transport_->rank() : 0), size_(transport_ ? transport_->size() : 1) {
  check(options_.timeout_s > 0, "[communicator] the timeout must be > 0 s, got ", options_.timeout_s);
  check(size_ == 1 || options_.algorithm == Algorithm::Auto || usable(options_.algorithm), "[communicator] ",
        name_of(options_.algorithm), " needs memory that ", all_share() ? "the ranks of a node share, on several nodes"
        : options_.algorithm == Algorithm::OnePass ? "all ranks share" : "the ranks of a node share",
        ". Fix: RINGFLOW_ALLREDUCE=auto.");
  if (all_share()) {
    control_ = &windows_->control();
  } else {
    const size_t bytes = ControlBlock::bytes(size_) + 64;
    control_memory_.reset(new char[bytes]);
    control_ = ControlBlock::create(
        reinterpret_cast<void*>(round_up(reinterpret_cast<uintptr_t>(control_memory_.get()))), size_);
  }
  watch_ = std::make_shared<Watch>(*control_, all_share(), transport_.get(), rank_, size_, options_.timeout_s);
  progress_ = std::make_shared<Progress>(options_.background);
  watch_->set_awaited(&progress_->waiting());
  watch_->set_warning(options_.warn_s);
  if (windows_ && !all_share()) watch_->set_node_block(&windows_->control());
  arrange();
}

Communicator::Communicator(const std::shared_ptr<Communicator>& parent, std::shared_ptr<Transport> transport,
                           std::shared_ptr<Windows> windows, CommunicatorOptions options, std::vector<int> names)
    : transport_(std::move(transport)), windows_(std::move(windows)), options_(std::move(options)),
      rank_(transport_ ? transport_->rank() : 0), size_(transport_ ? transport_->size() : 1), parent_(parent),
      names_(std::move(names)), control_(parent->control_), watch_(parent->watch_), progress_(parent->progress_) {
  arrange();
}

// The groups of ranks that algorithms run on, and the windows' place among them.
void Communicator::arrange() {
  std::vector<int> nodes = options_.nodes;
  if (nodes.empty()) nodes.assign(static_cast<size_t>(size_), 0);
  check(nodes.size() == static_cast<size_t>(size_), "[communicator] a node for each of ", size_,
        " ranks is needed, got ", nodes.size());
  std::map<int, std::vector<int>> ranks_of;
  for (int r = 0; r < size_; ++r) ranks_of[nodes[static_cast<size_t>(r)]].push_back(r);
  options_.nodes = nodes;
  if (!transport_) return;
  group_ = std::make_unique<Group>(*transport_, *watch_, std::vector<int>(), names_);
  if (windows_) {
    carriers_ = size_;
    for (const auto& [node, ranks] : ranks_of) carriers_ = std::min(carriers_, static_cast<int>(ranks.size()));
    const std::vector<int>& mine = ranks_of[nodes[static_cast<size_t>(rank_)]];
    check(windows_->size() == static_cast<int>(mine.size()), "[communicator] this node has ", mine.size(),
          " ranks, its windows ", windows_->size());
    std::vector<int> names;
    for (int r : mine) names.push_back(group_->name(r));
    windows_->set_names(std::move(names));
    if (windows_->rank() < carriers_ && !all_share()) {
      std::vector<int> carriers;
      for (const auto& [node, ranks] : ranks_of) carriers.push_back(ranks[static_cast<size_t>(windows_->rank())]);
      between_ = std::make_unique<Group>(*transport_, *watch_, std::move(carriers), names_);
    }
  }
  selection_ = Selection::built_in(size_, static_cast<int>(ranks_of.size()), carriers_);
}

Communicator::~Communicator() { close(); }

std::shared_ptr<Communicator> Communicator::split(int color, int key) {
  const std::shared_ptr<Communicator> self = shared_from_this();
  std::vector<int32_t> mine{color, key}, every(2 * static_cast<size_t>(size_));
  allgather(mine.data(), every.data(), sizeof(int32_t) * 2);
  std::vector<std::pair<int32_t, int>> order;  // of the ranks of this color
  for (int r = 0; r < size_; ++r)
    if (every[static_cast<size_t>(2 * r)] == color) order.emplace_back(every[static_cast<size_t>(2 * r + 1)], r);
  std::sort(order.begin(), order.end());
  const int number = ++splits_;  // 0 is the node's transport
  if (color < 0) return nullptr;
  CommunicatorOptions options = options_;
  options.nodes.clear();
  std::vector<int> ranks, names;
  for (const auto& [its_key, r] : order) {
    ranks.push_back(r);
    names.push_back(group_ ? group_->name(r) : 0);
    options.nodes.push_back(options_.nodes[static_cast<size_t>(r)]);
  }
  std::shared_ptr<Transport> transport;
  std::shared_ptr<Windows> windows;
  if (ranks.size() > 1)
    progress_->run([&] {
      watch_->begin(signature_of(Operation::Split, color), &names);
      transport = transport_->between(ranks, number);
      std::string problem;
      if (windows_ && options_.join) windows = options_.join(*transport, options.nodes, &problem);
    });
  return std::shared_ptr<Communicator>(
      new Communicator(self, std::move(transport), std::move(windows), std::move(options), std::move(names)));
}

const char* Communicator::transport_name() const { return transport_ ? transport_->name() : "none"; }

uint64_t Communicator::bytes_sent() const {
  return (group_ ? group_->bytes_sent() : 0) + (between_ ? between_->bytes_sent() : 0);
}

bool Communicator::use_windows() const {
  return windows_ && (options_.algorithm == Algorithm::Auto ||
                      options_.algorithm == (all_share() ? Algorithm::OnePass : Algorithm::Hierarchical));
}

bool Communicator::usable(Algorithm algorithm) const {
  if (algorithm == Algorithm::OnePass) return all_share();
  return algorithm != Algorithm::Hierarchical || (windows_ && !all_share());
}

std::vector<Algorithm> Communicator::algorithms() const {
  std::vector<Algorithm> all;
  for (Algorithm a : {Algorithm::OnePass, Algorithm::Hierarchical, Algorithm::Ring, Algorithm::HalvingDoubling,
                      Algorithm::Tree})
    if (usable(a)) all.push_back(a);
  return all;
}

void Communicator::set_selection(Selection selection) {
  for (const Selection::Row& row : selection.rows())
    check(size_ == 1 || usable(row.algorithm), "[selection] ", name_of(row.algorithm), " is not usable on these ", size_,
          " ranks. Fix: choose from algorithms().");
  selection_ = std::move(selection);
}

Algorithm Communicator::choose(Algorithm asked, size_t bytes, bool with_windows) const {
  if (size_ == 1) return asked;
  if (asked != Algorithm::Auto) {
    check(usable(asked), "[allreduce] ", name_of(asked), " is not usable on these ", size_,
          " ranks. Fix: choose from algorithms(), or leave it to auto.");
    return asked;
  }
  const Algorithm set = options_.algorithm;
  const Algorithm chosen = set != Algorithm::Auto && usable(set) ? set : selection_.choose(bytes);
  if (with_windows || (chosen != Algorithm::OnePass && chosen != Algorithm::Hierarchical)) return chosen;
  return Selection::built_in(size_, size_, 0).choose(bytes);
}

Algorithm Communicator::algorithm(size_t bytes) const {
  if (size_ == 1) return windows_ ? Algorithm::OnePass : Algorithm::Ring;
  return choose(Algorithm::Auto, bytes, true);
}

void Communicator::begin(const Signature& signature) {
  if (parent_)
    watch_->begin(signature, &names_);
  else
    watch_->begin(signature);
  if (begun_ || !windows_) return;
  windows_->barrier(*watch_);
  if (!parent_) watch_->set_crowded(windows_->crowded());
  begun_ = true;
}

void Communicator::abort(const std::string& text) {
  if (parent_) return parent_->abort(text);
  if (!watch_->record_abort(rank_, text) || all_share() || size_ == 1) return;
  // Jobs see the flag within milliseconds; then this thread may use the transport.
  unsaid_ = !progress_->run_soon([&] { watch_->abort(text); }, 1.0);
}

void Communicator::leave() {
  if (size_ > 1 && !parent_) progress_->run_soon([&] { watch_->announce(Presence::Left); }, 1.0);
}

void Communicator::tell() {
  if (size_ == 1 || parent_) return;
  progress_->run_soon([&] {
    if (unsaid_) watch_->abort(control_->abort_text());  // else the others take this for a departure
    watch_->announce(Presence::Told);
  }, 1.0);
}

int Communicator::wait_told(double timeout_s) {
  if (parent_) return parent_->wait_told(timeout_s);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  for (;;) {
    if (!all_share()) progress_->run_soon([&] { watch_->listen(); }, 0.0);
    int running = 0, told = 0;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      const Presence presence = control_->member(r).presence.load(std::memory_order_acquire);
      running += presence == Presence::Running;
      told += presence == Presence::Told;
    }
    if (running == 0) return told;
    if (std::chrono::steady_clock::now() >= end) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

bool Communicator::aborted() {
  if (parent_) return parent_->aborted();
  if (!all_share() && size_ > 1 && !control_->aborted()) progress_->run_soon([&] { watch_->listen(); }, 0.0);
  return control_->aborted();
}

void Communicator::close() {
  closed_ = true;
  if (parent_) return;
  watch_->stop();
  progress_->stop();
}

}  // namespace rf
