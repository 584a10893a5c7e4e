#include "collectives/hierarchical.h"

#include <algorithm>
#include <cstring>

#include "collectives/halving_doubling.h"
#include "collectives/one_pass.h"
#include "collectives/ring.h"

namespace rf::hierarchical {
namespace {

// out[i] = sources[0][i] + sources[1][i] + ... over 16-bit floats, divided (before it is rounded) by `divisor`.
void sum_16_bit(DType dtype, Reduction reduction, char* out, const std::vector<const void*>& sources, int64_t count,
                int divisor) {
  constexpr int64_t kBlock = 2048;
  std::vector<float> sum(kBlock), next(kBlock);
  for (int64_t at = 0; at < count; at += kBlock) {
    const int64_t n = std::min(kBlock, count - at);
    for (size_t r = 0; r < sources.size(); ++r) {
      widen(dtype, static_cast<const char*>(sources[r]) + 2 * at, r == 0 ? sum.data() : next.data(), n);
      if (r == 0) continue;
      const void* pair[] = {sum.data(), next.data()};
      reduce(DType::Float, reduction, sum.data(), pair, 2, n);
    }
    if (divisor != 1) divide(DType::Float, sum.data(), n, divisor);
    narrow(dtype, sum.data(), out + 2 * at, n);
  }
}

// Steps 1 and 2 for this rank's slice of the `count` elements in the segment.
void reduce_slice(const Nodes& nodes, Segment& segment, int64_t count, DType dtype, Reduction reduction) {
  if (!nodes.between) return;
  Windows& node = *nodes.node;
  const size_t item = size_of(dtype);
  const one_pass::Slice slice = one_pass::slice_of(count, item, node.rank(), nodes.carriers);
  const int64_t n = slice.end - slice.begin;
  if (n <= 0) return;
  const size_t offset = static_cast<size_t>(slice.begin) * item;
  char* result = segment.result() + offset;
  std::vector<const void*> sources;
  for (int r = 0; r < node.size(); ++r) sources.push_back(segment.window(r) + offset);
  const bool mean = reduction == Reduction::Mean, narrow = dtype == DType::Half || dtype == DType::BFloat16;
  const Reduction combining = mean ? Reduction::Sum : reduction;
  if (narrow)
    sum_16_bit(dtype, combining, result, sources, n, mean ? nodes.ranks : 1);
  else
    reduce(dtype, combining, result, sources.data(), node.size(), n);
  if (static_cast<size_t>(n) * item <= kShortSliceBytes)
    halving_doubling::allreduce(*nodes.between, result, n, dtype, combining);
  else
    ring::allreduce(*nodes.between, result, n, dtype, combining);
  if (mean && !narrow) divide(dtype, result, n, nodes.ranks);
}

}  // namespace

void allreduce(const Nodes& nodes, Watch& watch, Segment& segment, int64_t count, DType dtype, Reduction reduction) {
  nodes.node->meet(watch);
  reduce_slice(nodes, segment, count, dtype, reduction);
  nodes.node->barrier(watch);
}

void allreduce(const Nodes& nodes, Watch& watch, Segment& passage, void* data, int64_t count, DType dtype,
               Reduction reduction) {
  Windows& node = *nodes.node;
  const size_t item = size_of(dtype);
  const int64_t piece = static_cast<int64_t>(passage.bytes() / item);
  char* user = static_cast<char*>(data);
  node.meet(watch);  // also: nobody still reads the windows of a collective before
  for (int64_t done = 0; done < count; done += piece) {
    const int64_t n = std::min(piece, count - done);
    const size_t bytes = static_cast<size_t>(n) * item;
    std::memcpy(passage.window(node.rank()), user, bytes);
    node.barrier(watch);
    reduce_slice(nodes, passage, n, dtype, reduction);
    node.barrier(watch);
    std::memcpy(user, passage.result(), bytes);
    user += bytes;
  }
}

}  // namespace rf::hierarchical
