#include "kernels/movers.h"

#include <string>
#include <vector>

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
    {"_SplitRows", 0, 1},   {"_JoinRows", 0, 0},
};

bool is_moved(const Mover& m, int input, int inputs) {
  return input >= m.first && input < (m.count > 0 ? m.first + m.count : inputs + m.count);
}

// Strings are moved by moving their numbers: the kernel sees int64s, and what it makes of them says which string goes where.
void move_strings(const Mover& m, const Kernel& kernel, Context& c) {
  std::vector<Slot> inputs(static_cast<size_t>(c.num_inputs())), outputs(static_cast<size_t>(c.num_outputs()));
  std::vector<Slot*> places;
  std::vector<const std::string*> strings;
  for (int i = 0; i < c.num_inputs(); ++i) {
    Slot& slot = inputs[static_cast<size_t>(i)];
    slot.own = c.input(i);
    if (is_moved(m, i, c.num_inputs())) {
      const auto* first = c.input(i).data<std::string>();
      slot.own = Tensor(DType::Int64, c.input(i).shape());
      for (int64_t k = 0; k < slot.own.num_elements(); ++k) {
        slot.own.data<int64_t>()[k] = static_cast<int64_t>(strings.size());
        strings.push_back(first + k);
      }
    }
    slot.dtype = slot.own.dtype();
    places.push_back(&slot);
  }
  for (Slot& slot : outputs) slot.dtype = DType::Int64;
  Context numbers(c.node(), places.data(), c.num_inputs(), outputs.data(), c.num_outputs(), c.resources(), c.run());
  kernel(numbers);
  for (int i = 0; i < c.num_outputs(); ++i) {
    const Tensor& moved = *outputs[static_cast<size_t>(i)].tensor;
    auto* out = c.output(i, moved.shape()).data<std::string>();
    for (int64_t k = 0; k < moved.num_elements(); ++k) out[k] = *strings[static_cast<size_t>(moved.data<int64_t>()[k])];
  }
}

}  // namespace

Kernel check_moved(const Node& node, Kernel kernel) {
  for (const Mover& m : kMovers) {
    if (node.op != m.op) continue;
    return [m, kernel = std::move(kernel)](Context& c) {
      for (int k = m.first; is_moved(m, k, c.num_inputs()); ++k)
        for (int i = 0; i < c.num_outputs(); ++i)
          check(c.input(k).dtype() == c.output_dtype(i), "[", m.op, "] input ", k, " and output ", i,
                " must be of one dtype: got ", name_of(c.input(k).dtype()), " and ", name_of(c.output_dtype(i)));
      if (c.input(m.first).dtype() == DType::String)
        move_strings(m, kernel, c);
      else
        kernel(c);
    };
  }
  return kernel;
}

}  // namespace rf
