// `_Fused`: several elementwise ops of one shape in one pass over memory.
//
// The pass works tile by tile: every op runs over the tile before the next tile begins, so that what passes between ops
// stays in the first-level cache and only the inputs and outputs of the whole touch memory.
//
// Output 0 is the result of the last op: it may be written over an input, which every op of the tile has read by then.
#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/fused_recipe.h"

namespace rf {
namespace {

constexpr int64_t kTile = 1024;  // elements; a dozen tiles of floats fit the first-level cache

// One input as the loop sees it: tiles of it, in place where it lies as the result does, else repeated into a buffer.
template <class T>
class Operand {
 public:
  Operand(const T* data, Repeat repeat, int64_t elements)
      : data_(data), repeat_(repeat), whole_(repeat.whole(elements)) {}
  // Memory for a tile.
  void use(T* buffer) { buffer_ = buffer; }

  const T* tile(int64_t begin, int64_t n) {
    if (whole_) return data_ + begin;
    const int64_t phase = begin % (repeat_.block * repeat_.period);
    if (repeat_.block == 1 && phase + n <= repeat_.period) return data_ + phase;
    if (phase == phase_ && n <= filled_) return buffer_;
    fill(phase, n);
    phase_ = phase;
    filled_ = n;
    return buffer_;
  }

  // Elements until the operand begins again, or goes on to its next element; 0 where no tile needs to care.
  int64_t stride() const { return whole_ ? 0 : repeat_.block > 1 ? repeat_.block : repeat_.period; }

 private:
  void fill(int64_t phase, int64_t n) {
    int64_t index = phase / repeat_.block, inside = phase % repeat_.block;
    for (int64_t i = 0; i < n;) {
      if (repeat_.block == 1) {
        const int64_t count = std::min(n - i, repeat_.period - index);
        std::copy_n(data_ + index, count, buffer_ + i);
        i += count;
        index = 0;
      } else {
        const int64_t count = std::min(n - i, repeat_.block - inside);
        std::fill_n(buffer_ + i, count, data_[index]);
        i += count;
        inside = 0;
        if (++index == repeat_.period) index = 0;
      }
    }
  }

  const T* data_;
  Repeat repeat_;
  bool whole_;
  T* buffer_ = nullptr;
  int64_t phase_ = -1, filled_ = 0;
};

// Tiles that end where rows of operands end need no copies of those: the longest such tile.
template <class T>
int64_t tile_size(const std::vector<Operand<T>>& operands) {
  int64_t longest = 0;
  for (const Operand<T>& o : operands) longest = std::max(longest, o.stride());
  if (longest <= 1) return kTile;
  if (longest <= kTile) return kTile / longest * longest;
  for (int64_t parts = (longest + kTile - 1) / kTile; longest / parts >= kTile / 4; ++parts)
    if (longest % parts == 0) return longest / parts;
  return kTile;
}

template <class T>
Kernel fused(const Node& node) {
  const FusedRecipe recipe = read_fused_recipe(node);
  std::vector<TileOp<T>> ops;
  for (const std::string& name : recipe.names) {
    ops.push_back(find_tile_op<T>(name));
    check(ops.back() != nullptr, "[_Fused] ", name, " cannot be fused");
  }
  check(recipe.steps.back().output == 0, "[_Fused] node '", node.name, "' is damaged: output 0 is not the last op's");
  return [recipe, ops](Context& c) {
    const Shape shape = fused_shape(c, recipe);
    const int64_t n = shape.num_elements();
    const int inputs = recipe.inputs;
    const int64_t buffers = recipe.buffers + inputs;  // of a thread
    T* memory = static_cast<T*>(c.scratch(static_cast<size_t>(buffers * kTile * intra_op_threads()) * sizeof(T)));
    std::vector<Operand<T>> all;
    all.reserve(static_cast<size_t>(inputs));
    for (int i = 0; i < inputs; ++i)
      all.emplace_back(c.input(i).data<T>(), repeat_of(c.node(), c.input(i).shape(), shape), n);
    std::vector<T*> outputs;
    for (int i = 0; i < c.num_outputs(); ++i) outputs.push_back(c.output(i, shape).template data<T>());
    const int64_t tile = tile_size(all), grain = 1 + kParallelGrain / tile / static_cast<int64_t>(ops.size());
    parallel_for((n + tile - 1) / tile, grain, [&](int64_t first, int64_t last, int part) {
      T* scratch = memory + part * buffers * kTile;
      std::vector<Operand<T>> operands = all;
      for (int i = 0; i < inputs; ++i) operands[static_cast<size_t>(i)].use(scratch + (recipe.buffers + i) * kTile);
      std::vector<const T*> value(static_cast<size_t>(inputs) + ops.size());
      Slab slab;
      slab.column_step[0] = slab.column_step[1] = 1;
      for (int64_t begin = first * tile; begin < std::min(last * tile, n); begin += tile) {
        slab.columns = std::min(tile, n - begin);
        for (size_t i = 0; i < operands.size(); ++i) value[i] = operands[i].tile(begin, slab.columns);
        for (const FusedOp& s : recipe.steps) {
          T* out = s.output >= 0 ? outputs[static_cast<size_t>(s.output)] + begin : scratch + s.scratch * kTile;
          ops[static_cast<size_t>(s.op)](value[static_cast<size_t>(s.a)], value[static_cast<size_t>(s.b)], out, slab);
          value[static_cast<size_t>(inputs + s.op)] = out;
        }
      }
    });
  };
}

RF_KERNEL_IN_PLACE("_Fused", fused, float, double)

}  // namespace
}  // namespace rf
