#include "kernels/movers.h"

namespace rf {
namespace {

struct Mover {
  const char* op;
  int first;  // of the inputs that are moved
  int count;  // 0: all that follow; negative: all but that many at the end
};

constexpr Mover kMovers[] = {
    {"Fill", 1, 1},         {"OneHot", 2, 2},       {"MatrixBandPart", 0, 1},   {"GatherV2", 0, 1},
    {"GatherNd", 0, 1},     {"Transpose", 0, 1},    {"DynamicPartition", 0, 1}, {"ConcatV2", 0, -1},
    {"Split", 1, 1},        {"SplitV", 0, 1},       {"Pack", 0, 0},             {"Unpack", 0, 1},
    {"Tile", 0, 1},         {"BroadcastTo", 0, 1},  {"Pad", 0, 1},              {"PadV2", 0, 1},
    {"Slice", 0, 1},        {"StridedSlice", 0, 1}, {"StridedSliceGrad", 4, 1}, {"Select", 1, 2},
    {"SelectV2", 1, 2},     {"Snapshot", 0, 1},     {"RandomShuffle", 0, 1},    {"ZerosLike", 0, 1},
    {"OnesLike", 0, 1},     {"SparseToDense", 2, 2}, {"RandomUniformInt", 1, 2},
};

}  // namespace

Kernel check_moved(const Node& node, Kernel kernel) {
  for (const Mover& m : kMovers) {
    if (node.op != m.op) continue;
    return [m, kernel = std::move(kernel)](Context& c) {
      const int end = m.count > 0 ? m.first + m.count : c.num_inputs() + m.count;
      for (int k = m.first; k < end; ++k)
        for (int i = 0; i < c.num_outputs(); ++i)
          check(c.input(k).dtype() == c.output_dtype(i), "[", m.op, "] input ", k, " and output ", i,
                " must be of one dtype: got ", name_of(c.input(k).dtype()), " and ", name_of(c.output_dtype(i)));
      kernel(c);
    };
  }
  return kernel;
}

}  // namespace rf
