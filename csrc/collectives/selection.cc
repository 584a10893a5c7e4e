#include "collectives/selection.h"

#include <limits>
#include <utility>

#include "base/error.h"

namespace rf {
namespace {

constexpr const char* kNames[] = {"auto", "one_pass", "ring", "halving_doubling", "tree", "hierarchical"};
constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
constexpr size_t kHalvingBytes = size_t{1} << 20, kFoldedBytes = size_t{64} << 10;
constexpr int kLongRing = 16;

}  // namespace

const char* name_of(Algorithm algorithm) { return kNames[static_cast<int>(algorithm)]; }

Algorithm algorithm_of(const std::string& name) {
  std::string all;
  for (int a = 0; a <= static_cast<int>(Algorithm::Hierarchical); ++a) {
    if (name == kNames[a]) return static_cast<Algorithm>(a);
    all += std::string(a ? ", " : "") + kNames[a];
  }
  fail(Code::InvalidArgument, "[communicator] the algorithm must be one of ", all, ": got '", name,
       "'. Fix: correct the argument or RINGFLOW_ALLREDUCE.");
}

Selection::Selection(std::vector<Row> rows) : rows_(std::move(rows)) {
  check(!rows_.empty(), "[selection] the table has no row. Fix: give at least one (up_to_bytes, algorithm).");
  for (size_t i = 0; i < rows_.size(); ++i) {
    check(i == 0 || rows_[i - 1].up_to_bytes < rows_[i].up_to_bytes, "[selection] the bytes must ascend: row ", i,
          " has ", rows_[i].up_to_bytes, " after ", rows_[i - 1].up_to_bytes);
    check(rows_[i].algorithm != Algorithm::Auto, "[selection] row ", i, " must name an algorithm, not auto");
  }
}

Selection Selection::built_in(int ranks, int nodes, int carriers) {
  if (carriers > 0 && nodes == 1) return Selection({{kNoLimit, Algorithm::OnePass}});
  if (carriers > 1) return Selection({{kNoLimit, Algorithm::Hierarchical}});
  const bool power_of_two = (ranks & (ranks - 1)) == 0;
  if (ranks > kLongRing && power_of_two) return Selection({{kNoLimit, Algorithm::HalvingDoubling}});
  // folding costs two more messages of the whole length
  return Selection(
      {{power_of_two ? kHalvingBytes : kFoldedBytes, Algorithm::HalvingDoubling}, {kNoLimit, Algorithm::Ring}});
}

Algorithm Selection::choose(size_t bytes) const {
  for (const Row& row : rows_)
    if (bytes <= row.up_to_bytes) return row.algorithm;
  return rows_.back().algorithm;
}

}  // namespace rf
