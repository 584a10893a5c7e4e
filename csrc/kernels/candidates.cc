// LogUniformCandidateSampler and ComputeAccidentalHits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernels/random_stream.h"

namespace rf {
namespace {

// P(k) = log((k + 2) / (k + 1)) / log(range + 1), drawn by inversion: floor(e^(u log(range + 1))) - 1.
// A sample costs a block of the stream; tries until enough are different count into the expectations.
Kernel log_uniform_sampler(const Node& node) {
  const int64_t wanted = node.attr<int64_t>("num_sampled"), range = node.attr<int64_t>("range_max");
  const bool unique = node.attr<bool>("unique");
  check(wanted > 0 && range > 0, "[", node.op, "] num_sampled and range_max must be positive: got ", wanted, " and ", range);
  check(!unique || wanted <= range, "[", node.op, "] ", wanted, " different classes cannot be drawn from ", range);
  return [wanted, range, unique, draws = Draws(node)](Context& c) mutable {
    const Tensor& truth = c.input(0);
    check(truth.rank() == 2, "[", c.node().op, "] true_classes must be (n, num_true): got shape ", truth.shape());
    const double log_range = std::log1p(static_cast<double>(range));
    std::vector<int64_t> drawn;
    std::unordered_set<int64_t> seen;
    int64_t tries = 0;
    while (static_cast<int64_t>(drawn.size()) < wanted) {
      uint32_t words[4];
      const Draws::Range block = draws.take(c, 1);
      block.generator.block(block.first, words);
      for (size_t i = 0; i + 1 < 4 && static_cast<int64_t>(drawn.size()) < wanted; i += 2) {
        const double u = static_cast<double>((uint64_t{words[i]} << 32 | words[i + 1]) >> 11) * 0x1p-53;
        const int64_t k = std::min(static_cast<int64_t>(std::exp(u * log_range)) - 1, range - 1);
        ++tries;
        if (!unique || seen.insert(k).second) drawn.push_back(k);
      }
    }
    const auto expected = [&](int64_t k) {
      const double x = static_cast<double>(k), p = std::log((x + 2) / (x + 1)) / log_range;
      return static_cast<float>(unique ? -std::expm1(static_cast<double>(tries) * std::log1p(-p))
                                       : static_cast<double>(wanted) * p);
    };
    std::copy(drawn.begin(), drawn.end(), c.output(0, {wanted}).data<int64_t>());
    const int64_t* classes = truth.data<int64_t>();
    std::transform(classes, classes + truth.num_elements(), c.output(1, truth.shape()).data<float>(), expected);
    std::transform(drawn.begin(), drawn.end(), c.output(2, {wanted}).data<float>(), expected);
  };
}

Kernel accidental_hits(const Node&) {
  return [](Context& c) {
    const Tensor &truth = c.input(0), &sampled = c.input(1);
    check(truth.rank() == 2 && sampled.rank() == 1, "[", c.node().op,
          "] true_classes must be a matrix and sampled_candidates a vector: got shapes ", truth.shape(), " and ",
          sampled.shape());
    std::unordered_map<int64_t, int64_t> place;
    for (int64_t i = 0; i < sampled.num_elements(); ++i) place[sampled.data<int64_t>()[i]] = i;
    std::vector<std::pair<int64_t, int64_t>> hits;
    for (int64_t i = 0; i < truth.num_elements(); ++i)
      if (const auto hit = place.find(truth.data<int64_t>()[i]); hit != place.end())
        hits.emplace_back(i / truth.dim(1), hit->second);
    const Shape shape{static_cast<int64_t>(hits.size())};
    int32_t* rows = c.output(0, shape).data<int32_t>();
    int64_t* ids = c.output(1, shape).data<int64_t>();
    float* weights = c.output(2, shape).data<float>();
    for (const auto& [row, id] : hits) {
      *rows++ = static_cast<int32_t>(row);
      *ids++ = id;
      *weights++ = std::numeric_limits<float>::lowest();
    }
  };
}

RF_KERNEL_ANY("LogUniformCandidateSampler", None, log_uniform_sampler)
RF_KERNEL_ANY("ComputeAccidentalHits", None, accidental_hits)

}  // namespace
}  // namespace rf
