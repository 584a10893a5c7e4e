#include "collectives/ring.h"

#include <algorithm>
#include <cstring>

#include "base/tensor.h"

namespace rf::ring {
namespace {

constexpr size_t kBuffers = 64;  // of a segment each
constexpr int kTag = 1;  // messages between two ranks arrive in order, so one tag serves all collectives

// Messages under way. Whatever has not ended when an error flies past is given up.
class Requests {
 public:
  Requests(Transport& transport, Watch& watch) : transport_(transport), watch_(watch) {}
  ~Requests() {
    for (const auto& [request, peer] : pending_) transport_.cancel(request);
  }
  void send(int to, const void* data, size_t bytes) { add(transport_.start_send(to, kTag, data, bytes), to); }
  void receive(int from, void* data, size_t bytes) { add(transport_.start_receive(from, kTag, data, bytes), from); }
  // Waits for the oldest one.
  void wait_one() {
    const auto [request, peer] = pending_[first_];
    if (++first_ == pending_.size()) {
      pending_.clear();
      first_ = 0;
    }
    watch_.until_done(request, peer);
  }
  void wait_all() {
    while (!pending_.empty()) wait_one();
  }

 private:
  void add(Transport::Request request, int peer) { pending_.emplace_back(request, peer); }

  Transport& transport_;
  Watch& watch_;
  std::vector<std::pair<Transport::Request, int>> pending_;
  size_t first_ = 0;
};

// Calls f(offset, bytes) for each segment of a message.
template <class F>
void each_segment(size_t bytes, F&& f) {
  for (size_t done = 0; done < bytes; done += kSegmentBytes) f(done, std::min(kSegmentBytes, bytes - done));
}

void send_segments(Requests& requests, int to, const char* data, size_t bytes) {
  each_segment(bytes, [&](size_t at, size_t n) { requests.send(to, data + at, n); });
}

void receive_segments(Requests& requests, int from, char* data, size_t bytes) {
  each_segment(bytes, [&](size_t at, size_t n) { requests.receive(from, data + at, n); });
}

// Receives `bytes` and adds them to `sum`: some buffers fill while another is reduced. Receives are asked for early: a
// receiver's word that it is ready travels behind the data that it sends itself, which is many milliseconds long in the
// queues of a slow link (16 MB between two hosts at 1 Gbit/s: 203 ms with 4 buffers, 151 ms with 64).
void receive_and_reduce(Transport& transport, Watch& watch, int from, char* sum, size_t bytes, char* buffers,
                        DType dtype, Reduction reduction) {
  Requests incoming(transport, watch);
  const auto buffer = [&](size_t at) { return buffers + (at / kSegmentBytes % kBuffers) * kSegmentBytes; };
  size_t asked = 0;
  const auto ask = [&] {
    const size_t n = std::min(kSegmentBytes, bytes - asked);
    incoming.receive(from, buffer(asked), n);
    asked += n;
  };
  while (asked < bytes && asked < kBuffers * kSegmentBytes) ask();
  each_segment(bytes, [&](size_t at, size_t n) {
    incoming.wait_one();
    accumulate(dtype, reduction, sum + at, buffer(at), static_cast<int64_t>(n / size_of(dtype)));
    if (asked < bytes) ask();
  });
}

void allreduce_in_dtype(Transport& transport, Watch& watch, char* data, int64_t count, DType dtype,
                        Reduction reduction) {
  const int p = transport.size(), r = transport.rank(), next = (r + 1) % p, previous = (r + p - 1) % p;
  const size_t item = size_of(dtype);
  const auto begin = [&](int chunk) { return static_cast<size_t>(count * chunk / p) * item; };
  const auto place = [&](int chunk) { return data + begin(chunk); };
  const auto bytes = [&](int chunk) { return begin(chunk + 1) - begin(chunk); };
  const auto back = [&](int steps) { return ((r - steps) % p + p) % p; };  // the chunk that many ranks behind

  const size_t chunk_bytes = static_cast<size_t>(count / p + 1) * item;
  const Tensor memory(DType::Int8, {static_cast<int64_t>(std::min(chunk_bytes, kBuffers * kSegmentBytes))});
  char* const buffers = const_cast<char*>(static_cast<const char*>(memory.raw()));
  for (int step = 0; step < p - 1; ++step) {  // reduce-scatter: rank r ends with the whole sum of chunk r + 1
    Requests outgoing(transport, watch);
    send_segments(outgoing, next, place(back(step)), bytes(back(step)));
    const int arriving = back(step + 1);
    receive_and_reduce(transport, watch, previous, place(arriving), bytes(arriving), buffers, dtype, reduction);
    outgoing.wait_all();
  }
  const int mine = back(-1);
  if (reduction == Reduction::Mean) divide(dtype, place(mine), static_cast<int64_t>(bytes(mine) / item), p);
  for (int step = 0; step < p - 1; ++step) {  // allgather: the sums go round
    Requests requests(transport, watch);
    const int leaving = back(step - 1), arriving = back(step);
    send_segments(requests, next, place(leaving), bytes(leaving));
    receive_segments(requests, previous, place(arriving), bytes(arriving));
    requests.wait_all();
  }
}

}  // namespace

void allreduce(Transport& transport, Watch& watch, void* data, int64_t count, DType dtype, Reduction reduction) {
  if (dtype != DType::Half && dtype != DType::BFloat16)
    return allreduce_in_dtype(transport, watch, static_cast<char*>(data), count, dtype, reduction);
  std::vector<float> wide(static_cast<size_t>(count));
  widen(dtype, data, wide.data(), count);
  allreduce_in_dtype(transport, watch, reinterpret_cast<char*>(wide.data()), count, DType::Float, reduction);
  narrow(dtype, wide.data(), data, count);
}

void allreduce_narrow(Transport& transport, Watch& watch, void* data, int64_t count, DType dtype, Reduction reduction) {
  allreduce_in_dtype(transport, watch, static_cast<char*>(data), count, dtype, reduction);
}

void allgatherv(Transport& transport, Watch& watch, const void* in, void* out, const std::vector<size_t>& bytes) {
  const int p = transport.size(), r = transport.rank();
  std::vector<size_t> begin(bytes.size() + 1, 0);
  for (size_t i = 0; i < bytes.size(); ++i) begin[i + 1] = begin[i] + bytes[i];
  const auto index = [&](int steps) { return static_cast<size_t>(((r - steps) % p + p) % p); };
  char* base = static_cast<char*>(out);
  char* own = base + begin[static_cast<size_t>(r)];
  if (own != in && bytes[static_cast<size_t>(r)] > 0) std::memcpy(own, in, bytes[static_cast<size_t>(r)]);
  for (int step = 0; step < p - 1; ++step) {
    Requests requests(transport, watch);
    const size_t leaving = index(step), arriving = index(step + 1);
    send_segments(requests, (r + 1) % p, base + begin[leaving], bytes[leaving]);
    receive_segments(requests, (r + p - 1) % p, base + begin[arriving], bytes[arriving]);
    requests.wait_all();
  }
}

void broadcast(Transport& transport, Watch& watch, void* data, size_t bytes, int root) {
  const int p = transport.size(), position = (transport.rank() - root + p) % p;
  const int next = (transport.rank() + 1) % p, previous = (transport.rank() + p - 1) % p;
  char* base = static_cast<char*>(data);
  Requests incoming(transport, watch), outgoing(transport, watch);
  if (position > 0) receive_segments(incoming, previous, base, bytes);
  each_segment(bytes, [&](size_t at, size_t n) {
    if (position > 0) incoming.wait_one();
    if (position < p - 1) outgoing.send(next, base + at, n);
  });
  outgoing.wait_all();
}

void barrier(Transport& transport, Watch& watch) {
  const int p = transport.size(), r = transport.rank();
  char out = 0, in = 0;
  for (int distance = 1; distance < p; distance *= 2) {
    Requests requests(transport, watch);
    requests.send((r + distance) % p, &out, 1);
    requests.receive((r + p - distance) % p, &in, 1);
    requests.wait_all();
  }
}

}  // namespace rf::ring
