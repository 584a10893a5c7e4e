#include "collectives/halving_doubling.h"

#include "collectives/ring.h"

namespace rf::halving_doubling {
namespace {

// A rank of the q that are left after folding.
struct Folded {
  explicit Folded(const Group& group) : p(group.size()), r(group.rank()) {
    while (2 * q <= p) q *= 2;
    pairs = p - q;
    me = r < 2 * pairs ? r / 2 : r - pairs;
  }
  bool in_pair() const { return r < 2 * pairs; }
  bool lower() const { return in_pair() && r % 2 == 0; }
  int rank_of(int folded) const { return folded < pairs ? 2 * folded + 1 : folded + pairs; }

  const int p, r;
  int q = 1, pairs = 0, me = 0;
};

Order order(int me, int peer) { return peer < me ? Order::TheirsFirst : Order::MineFirst; }

void exchange_and_reduce(Group& group, int peer, Order order, const char* out, size_t out_bytes, char* mine,
                         size_t mine_bytes, DType dtype, Reduction reduction) {
  Requests outgoing(group);
  outgoing.send_all(peer, out, out_bytes);
  receive_and_reduce(group, peer, mine, mine_bytes, dtype, reduction, order);
  outgoing.wait_all();
}

void double_all(Group& group, const Folded& f, char* data, size_t bytes, DType dtype, Reduction reduction) {
  std::vector<char> copy(bytes);  // what is sent must not change meanwhile
  for (int distance = 1; distance < f.q; distance *= 2) {
    const int peer = f.me ^ distance;
    std::memcpy(copy.data(), data, bytes);
    exchange_and_reduce(group, f.rank_of(peer), order(f.me, peer), copy.data(), bytes, data, bytes, dtype, reduction);
  }
}

void halve_and_double(Group& group, const Folded& f, char* data, int64_t count, DType dtype, Reduction reduction) {
  const std::vector<size_t> begin = ring::even_chunks(count, size_of(dtype), f.q);
  const auto at = [&](int chunk) { return begin[static_cast<size_t>(chunk)]; };
  const auto bytes = [&](int chunk, int chunks) { return at(chunk + chunks) - at(chunk); };
  for (int half = f.q / 2; half >= 1; half /= 2) {
    const int peer = f.me ^ half, mine = f.me & ~(half - 1), theirs = mine ^ half;  // first chunks of the halves
    exchange_and_reduce(group, f.rank_of(peer), order(f.me, peer), data + at(theirs), bytes(theirs, half),
                        data + at(mine), bytes(mine, half), dtype, reduction);
  }
  for (int held = 1; held < f.q; held *= 2) {
    const int peer = f.me ^ held, mine = f.me & ~(held - 1), theirs = mine ^ held;
    Requests requests(group);
    requests.send_all(f.rank_of(peer), data + at(mine), bytes(mine, held));
    requests.receive_all(f.rank_of(peer), data + at(theirs), bytes(theirs, held));
    requests.wait_all();
  }
}

void in_dtype(Group& group, char* data, int64_t count, DType dtype, Reduction reduction) {
  const Folded f(group);
  const size_t bytes = static_cast<size_t>(count) * size_of(dtype);
  if (f.lower()) {
    Requests requests(group);
    requests.send_all(f.r + 1, data, bytes);
    requests.wait_all();
    requests.receive_all(f.r + 1, data, bytes);
    requests.wait_all();
    return;
  }
  if (f.in_pair()) receive_and_reduce(group, f.r - 1, data, bytes, dtype, reduction, Order::TheirsFirst);
  if (bytes <= kSmallBytes)
    double_all(group, f, data, bytes, dtype, reduction);
  else
    halve_and_double(group, f, data, count, dtype, reduction);
  if (reduction == Reduction::Mean) divide(dtype, data, count, f.p);
  if (f.in_pair()) {
    Requests requests(group);
    requests.send_all(f.r - 1, data, bytes);
    requests.wait_all();
  }
}

}  // namespace

void allreduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction) {
  widened(data, count, dtype, [&](void* wide, DType type) {
    in_dtype(group, static_cast<char*>(wide), count, type, reduction);
  });
}

}  // namespace rf::halving_doubling
