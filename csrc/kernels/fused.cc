// `_Fused`: several elementwise ops of one shape in one pass over memory.
//
// The pass works tile by tile: every op runs over the tile before the next tile begins, so that what passes between ops
// stays in the first-level cache and only the inputs and outputs of the whole touch memory. Each op is the formula of its
// own kernel, compiled apart: the results have the same bits as without fusion.
//
// Operands are numbers: 0 .. N-1 the inputs, N + k the result of op k. Attrs: `ops` (names), `args` (two operands for
// each op, the second one repeated for unary ops), `results` (ops whose results are the outputs).
//
// Output 0 is the result of the last op: it may be written over an input, which every op of the tile has read by then.
#include <algorithm>
#include <map>

#include "kernels/elementwise.h"

namespace rf {
namespace {

using namespace formula;

constexpr int64_t kTile = 1024;  // elements; a dozen tiles of floats fit the first-level cache

template <class T>
using TileOp = void (*)(const T* a, const T* b, T* out, int64_t n);

template <class T, class F>
void unary(const T* a, const T*, T* out, int64_t n) {
  run_loop<T>([=] {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = F()(a[i]);
  });
}

template <class T, class F>
void binary(const T* a, const T* b, T* out, int64_t n) {
  run_loop<T>([=] {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = F()(a[i], b[i]);
  });
}

// The names are those of FUSIBLE in graph/ops/fused.py.
template <class T>
TileOp<T> tile_op(const std::string& name) {
  static const std::map<std::string, TileOp<T>> ops = {
      {"Neg", unary<T, Neg>}, {"Abs", unary<T, Abs>}, {"Sign", unary<T, Sign>}, {"Square", unary<T, Square>},
      {"Reciprocal", unary<T, Reciprocal>}, {"Sqrt", unary<T, Sqrt>}, {"Rsqrt", unary<T, Rsqrt>},
      {"Exp", unary<T, Exp>}, {"Log", unary<T, Log>}, {"Log1p", unary<T, Log1p>}, {"Floor", unary<T, Floor>},
      {"Relu", unary<T, Relu>}, {"Relu6", unary<T, Relu6>}, {"Elu", unary<T, Elu>}, {"Sigmoid", unary<T, Sigmoid>},
      {"Tanh", unary<T, Tanh>}, {"Softplus", unary<T, Softplus>},
      {"AddV2", binary<T, Add>}, {"Sub", binary<T, Sub>}, {"Mul", binary<T, Mul>},
      {"RealDiv", binary<T, RealDiv>}, {"DivNoNan", binary<T, DivNoNan>}, {"Maximum", binary<T, Maximum>},
      {"Minimum", binary<T, Minimum>}, {"SquaredDifference", binary<T, SquaredDifference>},
      {"ReluGrad", binary<T, Swapped<ReluGrad>>}, {"Relu6Grad", binary<T, Swapped<Relu6Grad>>},
      {"EluGrad", binary<T, Swapped<EluGrad>>}, {"SigmoidGrad", binary<T, SigmoidGrad>},
      {"TanhGrad", binary<T, TanhGrad>}, {"SoftplusGrad", binary<T, Swapped<SoftplusGrad>>},
      {"SqrtGrad", binary<T, SqrtGrad>}, {"RsqrtGrad", binary<T, RsqrtGrad>},
      {"ReciprocalGrad", binary<T, ReciprocalGrad>},
  };
  const auto it = ops.find(name);
  check(it != ops.end(), "[_Fused] ", name, " cannot be fused");
  return it->second;
}

// How an operand repeats over the result: element i of the result reads element (i / block) % period.
struct Repeat {
  int64_t block = 1, period = 1;
};

Shape common_shape(Context& c) {
  int rank = 0;
  for (int i = 0; i < c.num_inputs(); ++i) rank = std::max(rank, c.input(i).shape().rank());
  Shape common;
  for (int k = 0; k < rank; ++k) common.add(1);
  for (int i = 0; i < c.num_inputs(); ++i) {
    const Shape& s = c.input(i).shape();
    for (int k = 0; k < s.rank(); ++k) {
      const int axis = rank - s.rank() + k;
      check(common[axis] == s[k] || common[axis] == 1 || s[k] == 1, "[_Fused] the inputs do not broadcast: input ", i,
            " is ", s);
      if (common[axis] == 1) common.set(axis, s[k]);
    }
  }
  return common;
}

// One stretch of matching dimensions between repeated ones; InvalidArgument where there are two.
Repeat repeat_of(const Shape& operand, const Shape& result) {
  Repeat r;
  if (operand.num_elements() == 1) return r;  // not a block of all: its buffer is filled once
  int stage = 0;  // from the back: 0 repeated, 1 matching, 2 repeated
  for (int k = 1; k <= result.rank(); ++k) {
    const int64_t d = result[result.rank() - k];
    const int64_t own = k <= operand.rank() ? operand[operand.rank() - k] : 1;
    if (d == 1) continue;
    if (own == d) {
      check(stage < 2, "[_Fused] an input of shape ", operand, " repeats in ", result, " in two places");
      stage = 1;
      r.period *= d;
    } else if (stage == 0) {
      r.block *= d;
    } else {
      stage = 2;
    }
  }
  return r;
}

// One input as the loop sees it: tiles of it, in place where it lies as the result does, else repeated into a buffer.
template <class T>
class Operand {
 public:
  Operand(const T* data, Repeat repeat, int64_t elements)
      : data_(data), repeat_(repeat), whole_(repeat.block == 1 && repeat.period == elements) {}
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

struct Instruction {
  int op, a, b;
  int output;    // of the node, or -1
  int scratch;   // which tile buffer holds the result where it is no output
};

struct Recipe {
  std::vector<std::string> names;
  std::vector<Instruction> steps;
  int outputs = 0;
  int buffers = 0;  // for results that are no outputs
};

// Checks the attrs, and gives results buffers that are free again after their last reader.
Recipe read_recipe(const Node& node) {
  Recipe r;
  r.names = node.list<std::string>("ops");
  const std::vector<int64_t> args = node.list<int64_t>("args"), results = node.list<int64_t>("results");
  const int64_t inputs = node.attr<int64_t>("N"), ops = static_cast<int64_t>(r.names.size());
  check(inputs > 0 && ops > 0 && static_cast<int64_t>(args.size()) == 2 * ops && !results.empty() && results[0] == ops - 1,
        "[_Fused] node '", node.name, "' is damaged: it has ", ops, " ops, ", args.size(), " args, ", results.size(), " results");
  r.outputs = static_cast<int>(results.size());
  std::vector<int64_t> last(static_cast<size_t>(ops), -1);  // op that reads a result last
  for (int64_t k = 0; k < ops; ++k) {
    for (int64_t arg : {args[static_cast<size_t>(2 * k)], args[static_cast<size_t>(2 * k + 1)]}) {
      check(arg >= 0 && arg < inputs + k, "[_Fused] node '", node.name, "': op ", k, " reads operand ", arg);
      if (arg >= inputs) last[static_cast<size_t>(arg - inputs)] = k;
    }
  }
  std::vector<int> free, held(static_cast<size_t>(ops), -1);
  for (int64_t k = 0; k < ops; ++k) {
    const size_t i = static_cast<size_t>(k);
    Instruction s{static_cast<int>(k), static_cast<int>(args[2 * i]), static_cast<int>(args[2 * i + 1]), -1, -1};
    const auto found = std::find(results.begin(), results.end(), k);
    if (found != results.end()) s.output = static_cast<int>(found - results.begin());
    if (s.output < 0) {
      if (free.empty()) free.push_back(r.buffers++);  // never a buffer that this op reads
      s.scratch = held[i] = free.back();
      free.pop_back();
    }
    for (size_t j = 0; j <= i; ++j)
      if (last[j] == k && held[j] >= 0) free.push_back(held[j]), held[j] = -1;
    r.steps.push_back(s);
  }
  return r;
}

template <class T>
Kernel fused(const Node& node) {
  const Recipe recipe = read_recipe(node);
  std::vector<TileOp<T>> ops;
  for (const std::string& name : recipe.names) ops.push_back(tile_op<T>(name));
  const int inputs = static_cast<int>(node.attr<int64_t>("N"));
  return [recipe, ops, inputs](Context& c) {
    check(c.num_inputs() == inputs && c.num_outputs() == recipe.outputs, "[_Fused] the node has ", c.num_inputs(),
          " inputs and ", c.num_outputs(), " outputs, its attrs say ", inputs, " and ", recipe.outputs);
    const Shape shape = common_shape(c);
    const int64_t n = shape.num_elements();
    const int64_t buffers = recipe.buffers + inputs;  // of a thread
    T* memory = static_cast<T*>(c.scratch(static_cast<size_t>(buffers * kTile * intra_op_threads()) * sizeof(T)));
    std::vector<Operand<T>> all;
    all.reserve(static_cast<size_t>(inputs));
    for (int i = 0; i < inputs; ++i)
      all.emplace_back(c.input(i).data<T>(), repeat_of(c.input(i).shape(), shape), n);
    std::vector<T*> outputs;
    for (int i = 0; i < c.num_outputs(); ++i) outputs.push_back(c.output(i, shape).template data<T>());
    const int64_t tile = tile_size(all), grain = 1 + kParallelGrain / tile / static_cast<int64_t>(ops.size());
    parallel_for((n + tile - 1) / tile, grain, [&](int64_t first, int64_t last, int part) {
      T* scratch = memory + part * buffers * kTile;
      std::vector<Operand<T>> operands = all;
      for (int i = 0; i < inputs; ++i) operands[static_cast<size_t>(i)].use(scratch + (recipe.buffers + i) * kTile);
      std::vector<const T*> value(static_cast<size_t>(inputs) + ops.size());
      for (int64_t begin = first * tile; begin < std::min(last * tile, n); begin += tile) {
        const int64_t size = std::min(tile, n - begin);
        for (size_t i = 0; i < operands.size(); ++i) value[i] = operands[i].tile(begin, size);
        for (const Instruction& s : recipe.steps) {
          T* out = s.output >= 0 ? outputs[static_cast<size_t>(s.output)] + begin : scratch + s.scratch * kTile;
          ops[static_cast<size_t>(s.op)](value[static_cast<size_t>(s.a)], value[static_cast<size_t>(s.b)], out, size);
          value[static_cast<size_t>(inputs + s.op)] = out;
        }
      }
    });
  };
}

RF_KERNEL_IN_PLACE("_Fused", fused, float, double)

}  // namespace
}  // namespace rf
