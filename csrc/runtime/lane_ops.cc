// Kernels of the lane (lane_ops.h) and of what decides on an update: _LanePack, _LaneUnpack, _SquaredNorm, _Cycle.
#include "runtime/lane_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "base/tensor.h"
#include "kernels/kernel.h"
#include "kernels/state.h"
#include "runtime/collective_ops.h"

namespace rf {

constexpr int64_t kSliceElements = 16384;

Rotation rotation_of(int64_t step, const std::vector<int64_t>& elements) {
  int64_t slices = 0;
  for (int64_t n : elements) slices += (n + kSliceElements - 1) / kSliceElements;
  if (slices == 0) return {};
  int64_t at = step % slices;
  for (size_t i = 0; i < elements.size(); ++i) {
    const int64_t here = (elements[i] + kSliceElements - 1) / kSliceElements;
    if (at < here)
      return {static_cast<int>(i), at * kSliceElements, std::min(elements[i], (at + 1) * kSliceElements)};
    at -= here;
  }
  return {};
}

int64_t word_modulus(int ranks) {
  int64_t modulus = int64_t{1} << 20;
  while (modulus > 2 && modulus * ranks > (int64_t{1} << 24)) modulus /= 2;
  return modulus;
}

uint64_t checksum(const void* data, size_t bytes) {
  constexpr uint64_t prime = 0x9E3779B97F4A7C15u;
  uint64_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8};  // independent chains: one multiplication would wait for the other
  const char* p = static_cast<const char*>(data);
  for (; bytes >= 64; p += 64, bytes -= 64) {
    uint64_t w[8];
    std::memcpy(w, p, 64);
    for (int k = 0; k < 8; ++k) h[k] = (h[k] ^ w[k]) * prime;
  }
  for (size_t k = 0; k < bytes; ++k) h[0] = (h[0] ^ static_cast<unsigned char>(p[k])) * prime;
  uint64_t all = 0;
  for (uint64_t x : h) all = (all ^ x ^ (x >> 29)) * prime;
  return all ^ (all >> 32);
}

namespace {

struct Seat {
  int rank = 0, ranks = 1;
};

// The lane's state, and this rank's seat in the session's communicator: a world of one where it has none.
class LaneOfNode {
 public:
  explicit LaneOfNode(const Node& node) : name_("lane of " + node.attr<std::string>("lane")) {}
  LaneState& state(Context& c) {
    return state_.get(c.resources(), [&] { return c.resources().find_or_create<LaneState>("", name_); });
  }
  Seat seat(Context& c) {
    const uint64_t version = c.resources().version();
    if (!found_ || version_ != version) {
      const auto resource = std::dynamic_pointer_cast<CommunicatorResource>(c.resources().find(kCommunicatorContainer, "communicator"));
      seat_ = resource ? Seat{resource->communicator().rank(), resource->communicator().size()} : Seat{};
      version_ = version;
      found_ = true;
    }
    return seat_;
  }

 private:
  const std::string name_;
  Cached<LaneState> state_;
  Seat seat_;
  bool found_ = false;
  uint64_t version_ = 0;
};

std::vector<int64_t> sizes(Context& c, int first) {
  std::vector<int64_t> elements;
  for (int i = first; i < c.num_inputs(); ++i) elements.push_back(c.input(i).num_elements());
  return elements;
}

// inputs: the K sums, then the weights.
template <class T>
Kernel lane_pack(const Node& node) {
  return [lane = LaneOfNode(node)](Context& c) mutable {
    LaneState& state = lane.state(c);
    const Seat me = lane.seat(c);
    const Tensor& sums = c.input(0);
    const int64_t k = sums.num_elements();
    Tensor& y = c.output(0, Shape{1 + k + 2 * me.ranks});
    T* out = y.data<T>();
    std::fill(out, out + y.num_elements(), T(0));
    const T p = static_cast<T>(me.ranks);
    out[0] = p;
    for (int64_t i = 0; i < k; ++i) out[1 + i] = sums.data<T>()[i] * p;
    const Rotation r = rotation_of(++state.step, sizes(c, 1));
    const int64_t modulus = word_modulus(me.ranks);
    T* mine = out + 1 + k + 2 * me.rank;
    mine[0] = static_cast<T>(state.step % modulus) * p;
    if (r.weight < 0) return;
    const Tensor& w = c.input(1 + r.weight);
    const uint64_t h = checksum(w.data<T>() + r.begin, static_cast<size_t>(r.end - r.begin) * sizeof(T));
    mine[1] = static_cast<T>(static_cast<int64_t>(h & static_cast<uint64_t>(modulus - 1))) * p;
  };
}

std::string ranks_text(const std::vector<int>& ranks) {
  std::string s = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) s += (i ? ", " : "") + std::to_string(ranks[i]);
  return s;
}

// The ranks by the word that they have sent; the most frequent word's first.
template <class T>
std::vector<std::vector<int>> groups_of(const T* words, int ranks) {
  std::map<T, std::vector<int>> by_word;
  for (int r = 0; r < ranks; ++r) by_word[words[2 * r]].push_back(r);
  std::vector<std::vector<int>> groups;
  for (auto& entry : by_word) groups.push_back(std::move(entry.second));
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  return groups;
}

// inputs: the lane, whether it has been reduced in this run, then the weights (for their sizes); output: the K sums, NaN
// where it has not.
template <class T>
Kernel lane_unpack(const Node& node) {
  const std::vector<std::string> names = node.list<std::string>("names");
  return [names, lane = LaneOfNode(node)](Context& c) mutable {
    const Seat me = lane.seat(c);
    const int ranks = me.ranks;
    const Tensor& x = c.input(0);
    const int64_t k = x.num_elements() - 1 - 2 * ranks;
    check(k >= 0, "[_LaneUnpack] the lane of ", ranks, " ranks has at least ", 1 + 2 * ranks, " words, got ",
          x.num_elements());
    const bool reduced = *c.input(1).data<bool>();
    const T* in = x.data<T>();
    T* out = c.output(0, Shape{k}).template data<T>();
    for (int64_t i = 0; i < k; ++i) out[i] = reduced ? in[1 + i] : std::numeric_limits<T>::quiet_NaN();
    if (!reduced) return;
    const auto where = [&] { return text("[lane] rank ", me.rank, "/", ranks, ": "); };
    if (in[0] != static_cast<T>(ranks))
      fail(Code::Internal, where(), "the sums of this step hold the gradients of ", in[0], " ranks, not of ", ranks,
           ". Fix: restart from the last checkpoint; the allreduce below is not to be trusted.");
    const T* words = in + 1 + k;
    const auto steps = groups_of(words, ranks);
    if (steps.size() > 1)
      fail(Code::Internal, where(), "the ranks are not at the same step: ", ranks_text(steps.back()), " is at step ",
           words[2 * steps.back()[0]], ", ", ranks_text(steps.front()), " at step ", words[2 * steps.front()[0]],
           " (modulo ", word_modulus(ranks), "). Fix: run the train op equally often on every rank.");
    const auto sets = groups_of(words + 1, ranks);
    if (sets.size() == 1) return;
    const Rotation r = rotation_of(lane.state(c).step, sizes(c, 2));
    std::vector<int> few;
    for (size_t g = 1; g < sets.size(); ++g) few.insert(few.end(), sets[g].begin(), sets[g].end());
    std::sort(few.begin(), few.end());
    const bool tie = sets[0].size() == few.size();
    const std::string name = r.weight >= 0 && static_cast<size_t>(r.weight) < names.size()
                                 ? names[static_cast<size_t>(r.weight)] : "?";
    fail(Code::DataLoss, where(), "the weights have drifted apart: variable '", name, "', elements ", r.begin, " to ",
         r.end - 1, ": ", ranks_text(few), tie ? " differ from " : few.size() == 1 ? " differs from " : " differ from ",
         ranks_text(sets[0]), ". Fix: do not change variables on single ranks; restart from a checkpoint.");
  };
}

// Sum of squares of all inputs, in double: finite exactly if every element is.
template <class T>
double squares(const T* x, int64_t n) {
  double sum[8] = {};
  vectorised([&] {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
      for (int k = 0; k < 8; ++k) sum[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
    for (; i < n; ++i) sum[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  });
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

template <class T>
Kernel squared_norm(const Node&) {
  return [](Context& c) {
    double sum = 0;
    for (int i = 0; i < c.num_inputs(); ++i) sum += squares(c.input(i).data<T>(), c.input(i).num_elements());
    *c.output(0, Shape()).data<double>() = sum;
  };
}

struct Counter : Resource {
  int64_t runs = 0;
};

// output: 1, 2, ..., length, 1, 2, ...
Kernel cycle(const Node& node) {
  const int64_t length = node.attr<int64_t>("length");
  check(length >= 1, "[_Cycle] attr 'length' must be at least 1, got ", length);
  return [length, name = "cycle " + node.name, counter = Cached<Counter>()](Context& c) mutable {
    Counter& runs = counter.get(c.resources(), [&] { return c.resources().find_or_create<Counter>("", name); });
    *c.output(0, Shape()).data<int64_t>() = runs.runs++ % length + 1;
  };
}

RF_KERNEL("_LanePack", lane_pack, float, double)
RF_KERNEL("_LaneUnpack", lane_unpack, float, double)
RF_KERNEL("_SquaredNorm", squared_norm, float, double, Half, BFloat16)
RF_KERNEL_ANY("_Cycle", None, cycle)

}  // namespace
}  // namespace rf
