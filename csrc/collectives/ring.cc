#include "collectives/ring.h"

#include "collectives/exchange.h"

namespace rf::ring {
namespace {

struct Ring {
  explicit Ring(const Group& group) : p(group.size()), r(group.rank()) {}
  int next() const { return (r + 1) % p; }
  int previous() const { return (r + p - 1) % p; }
  size_t back(int steps) const { return static_cast<size_t>(((r - steps) % p + p) % p); }  // so many ranks behind
  const int p, r;
};

}  // namespace

std::vector<size_t> even_chunks(int64_t count, size_t element_bytes, int parts) {
  std::vector<size_t> begin;
  for (int k = 0; k <= parts; ++k)
    begin.push_back(static_cast<size_t>(count / parts * k + count % parts * k / parts) * element_bytes);
  return begin;
}

void reduce_scatter(Group& group, char* data, const std::vector<size_t>& begin, DType dtype, Reduction reduction) {
  const bool sum = reduction == Reduction::Sum || reduction == Reduction::Mean || reduction == Reduction::Prod;
  if (sum && (dtype == DType::Half || dtype == DType::BFloat16))
    return exchange::reduce_scatter(group, data, begin, dtype, reduction);
  const Ring ring(group);
  for (int step = 1; step < ring.p; ++step) {
    const size_t leaving = ring.back(step), arriving = ring.back(step + 1);
    Requests outgoing(group);
    outgoing.send_all(ring.next(), data + begin[leaving], begin[leaving + 1] - begin[leaving]);
    receive_and_reduce(group, ring.previous(), data + begin[arriving], begin[arriving + 1] - begin[arriving], dtype,
                       reduction, Order::TheirsFirst);
    outgoing.wait_all();
  }
  const size_t me = static_cast<size_t>(ring.r), bytes = begin[me + 1] - begin[me];
  if (reduction == Reduction::Mean)
    divide(dtype, data + begin[me], static_cast<int64_t>(bytes / size_of(dtype)), ring.p);
}

void allgather(Group& group, char* data, const std::vector<size_t>& begin) {
  const Ring ring(group);
  for (int step = 0; step < ring.p - 1; ++step) {
    const size_t leaving = ring.back(step), arriving = ring.back(step + 1);
    Requests requests(group);
    requests.send_all(ring.next(), data + begin[leaving], begin[leaving + 1] - begin[leaving]);
    requests.receive_all(ring.previous(), data + begin[arriving], begin[arriving + 1] - begin[arriving]);
    requests.wait_all();
  }
}

void allreduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction) {
  const std::vector<size_t> begin = even_chunks(count, size_of(dtype), group.size());
  reduce_scatter(group, static_cast<char*>(data), begin, dtype, reduction);
  allgather(group, static_cast<char*>(data), begin);
}

void broadcast(Group& group, void* data, size_t bytes, int root) {
  const Ring ring(group);
  const int position = (ring.r - root + ring.p) % ring.p;
  char* base = static_cast<char*>(data);
  Requests incoming(group), outgoing(group);
  if (position > 0) incoming.receive_all(ring.previous(), base, bytes);
  each_segment(bytes, [&](size_t at, size_t n) {
    if (position > 0) incoming.wait_one();
    if (position < ring.p - 1) outgoing.send(ring.next(), base + at, n);
  });
  outgoing.wait_all();
}

void barrier(Group& group) {
  const int p = group.size(), r = group.rank();
  char out = 0, in = 0;
  for (int distance = 1; distance < p; distance *= 2) {
    Requests requests(group);
    requests.send((r + distance) % p, &out, 0);
    requests.receive((r + p - distance) % p, &in, 0);
    requests.wait_all();
  }
}

}  // namespace rf::ring
