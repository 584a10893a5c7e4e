#include "collectives/group.h"

#include <utility>

#include "base/tensor.h"

namespace rf {

Group::Group(Transport& transport, Watch& watch, std::vector<int> members, const std::vector<int>& names)
    : transport_(transport), watch_(watch), members_(std::move(members)) {
  if (members_.empty())
    for (int r = 0; r < transport.size(); ++r) members_.push_back(r);
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i] == transport.rank()) rank_ = static_cast<int>(i);
    names_.push_back(names.empty() ? members_[i] : names[static_cast<size_t>(members_[i])]);
  }
}

Requests::~Requests() {
  for (size_t i = first_; i < pending_.size(); ++i) group_.transport().cancel(pending_[i].request);
}

void Requests::send(int to, const void* data, size_t bytes) {
  group_.count(bytes);
  pending_.push_back({group_.transport().start_send(group_.member(to), kCollectiveTag, data, bytes), group_.name(to)});
}

void Requests::receive(int from, void* data, size_t bytes) {
  pending_.push_back(
      {group_.transport().start_receive(group_.member(from), kCollectiveTag, data, bytes), group_.name(from)});
}

void Requests::send_all(int to, const void* data, size_t bytes) {
  each_segment(bytes, [&](size_t at, size_t n) { send(to, static_cast<const char*>(data) + at, n); });
}

void Requests::receive_all(int from, void* data, size_t bytes) {
  each_segment(bytes, [&](size_t at, size_t n) { receive(from, static_cast<char*>(data) + at, n); });
}

void Requests::wait_one() {
  const Pending pending = pending_[first_];
  if (++first_ == pending_.size()) {
    pending_.clear();
    first_ = 0;
  }
  group_.watch().until_done(group_.transport(), pending.request, pending.peer);
}

void Requests::wait_all() {
  while (!pending_.empty()) wait_one();
}

// Some buffers fill while another is reduced. Receives are asked for early: a receiver's word that it is ready travels
// behind the data that it sends itself, which is many milliseconds long in the queues of a slow link (ring allreduce of
// 16 MB between two hosts at 1 Gbit/s: 203 ms with 4 buffers, 151 ms with 64).
void receive_and_reduce(Group& group, int from, char* mine, size_t bytes, DType dtype, Reduction reduction,
                        Order order) {
  if (bytes == 0) return;
  constexpr size_t kBuffers = 64;
  const Tensor memory(DType::Int8, {static_cast<int64_t>(std::min(bytes, kBuffers * kSegmentBytes))});
  char* const buffers = const_cast<char*>(static_cast<const char*>(memory.raw()));
  const auto buffer = [&](size_t at) { return buffers + at / kSegmentBytes % kBuffers * kSegmentBytes; };
  const Reduction combining = reduction == Reduction::Mean ? Reduction::Sum : reduction;
  Requests incoming(group);
  size_t asked = 0;
  const auto ask = [&] {
    const size_t n = std::min(kSegmentBytes, bytes - asked);
    incoming.receive(from, buffer(asked), n);
    asked += n;
  };
  while (asked < bytes && asked < kBuffers * kSegmentBytes) ask();
  each_segment(bytes, [&](size_t at, size_t n) {
    incoming.wait_one();
    const void* sources[] = {mine + at, buffer(at)};
    if (order == Order::TheirsFirst) std::swap(sources[0], sources[1]);
    reduce(dtype, combining, mine + at, sources, 2, static_cast<int64_t>(n / size_of(dtype)));
    if (asked < bytes) ask();
  });
}

}  // namespace rf
