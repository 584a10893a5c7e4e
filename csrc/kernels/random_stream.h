// The random stream of one op: its generator, and how far it has come, kept as a resource under the node's name.
//
// A plan that is built again goes on where the stream stood; two runs of a graph with the same seeds in fresh
// sessions draw the same numbers. Threading: a draw reserves its blocks atomically.
#pragma once

#include <atomic>
#include <random>
#include <string>

#include "kernels/philox.h"
#include "kernels/state.h"

namespace rf {

struct RandomStream : Resource {
  RandomStream(uint64_t seed, uint64_t seed2) : generator(seed, seed2) {}
  const Philox generator;
  std::atomic<uint64_t> next{0};  // the first block not yet drawn
};

// A kernel's handle on its stream. Seeds (0, 0) mean another stream in each session.
class Draws {
 public:
  explicit Draws(const Node& node)
      : name_(node.name),
        seed_(static_cast<uint64_t>(node.attr<int64_t>("seed", 0))),
        seed2_(static_cast<uint64_t>(node.attr<int64_t>("seed2", 0))) {}

  struct Range {
    const Philox& generator;
    uint64_t first;
  };
  // Reserves `blocks` blocks.
  Range take(Context& c, int64_t blocks) {
    RandomStream& stream = found_.get(c.resources(), [&] {
      return c.resources().find_or_create<RandomStream>("", name_, [&] {
        if (seed_ || seed2_) return std::make_shared<RandomStream>(seed_, seed2_);
        std::random_device entropy;
        const auto word = [&] { return uint64_t{entropy()} << 32 | entropy(); };
        const uint64_t a = word(), b = word();
        return std::make_shared<RandomStream>(a, b);
      });
    });
    return {stream.generator, stream.next.fetch_add(static_cast<uint64_t>(blocks), std::memory_order_relaxed)};
  }

 private:
  std::string name_;
  uint64_t seed_, seed2_;
  Cached<RandomStream> found_;
};

}  // namespace rf
