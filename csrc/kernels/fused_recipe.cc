#include "kernels/fused_recipe.h"

#include <algorithm>
#include <map>

#include "kernels/elementwise.h"

namespace rf {
namespace {

using namespace formula;

constexpr int64_t kMost = int64_t{1} << 16;  // inputs or ops

template <class T, class F>
void unary(const T* a, const T*, T* out, const Slab& slab) {
  const int64_t rows = slab.rows, n = slab.columns, step = slab.row_step[0];
  run_loop<T>([=] {
    for (int64_t r = 0; r < rows; ++r) {
      const T* x = a + r * step;
      T* y = out + r * n;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) y[i] = F()(x[i]);
    }
  });
}

template <class T, class F>
void binary(const T* a, const T* b, T* out, const Slab& slab) {
  map_slab(F(), a, b, out, slab);
}

template <class T>
const std::map<std::string, TileOp<T>>& tile_ops() {
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
  return ops;
}

}  // namespace

template <class T>
TileOp<T> find_tile_op(const std::string& name) {
  const auto it = tile_ops<T>().find(name);
  return it == tile_ops<T>().end() ? nullptr : it->second;
}
template TileOp<float> find_tile_op<float>(const std::string&);
template TileOp<double> find_tile_op<double>(const std::string&);

FusedRecipe read_fused_recipe(const Node& node) {
  FusedRecipe r;
  r.names = node.list<std::string>("ops");
  const std::vector<int64_t> args = node.list<int64_t>("args"), results = node.list<int64_t>("results");
  const int64_t inputs = node.attr<int64_t>("N"), ops = static_cast<int64_t>(r.names.size());
  check(inputs > 0 && inputs < kMost && ops > 0 && ops < kMost && static_cast<int64_t>(args.size()) == 2 * ops &&
            !results.empty(),
        "[", node.op, "] node '", node.name, "' is damaged: it has ", inputs, " inputs, ", ops, " ops, ", args.size(),
        " args, ", results.size(), " results");
  r.inputs = static_cast<int>(inputs);
  r.outputs = static_cast<int>(results.size());
  for (size_t i = 0; i < results.size(); ++i)
    check(results[i] >= 0 && results[i] < ops && std::count(results.begin(), results.end(), results[i]) == 1, "[", node.op,
          "] node '", node.name, "' is damaged: no op ", results[i], " for a result, or two results of it");
  std::vector<int64_t> last(static_cast<size_t>(ops), -1);  // op that reads a result last
  for (int64_t k = 0; k < ops; ++k) {
    for (int64_t arg : {args[static_cast<size_t>(2 * k)], args[static_cast<size_t>(2 * k + 1)]}) {
      check(arg >= 0 && arg < inputs + k, "[", node.op, "] node '", node.name, "': op ", k, " reads operand ", arg);
      if (arg >= inputs) last[static_cast<size_t>(arg - inputs)] = k;
    }
  }
  std::vector<int> free, held(static_cast<size_t>(ops), -1);
  for (int64_t k = 0; k < ops; ++k) {
    const size_t i = static_cast<size_t>(k);
    FusedOp s{static_cast<int>(k), static_cast<int>(args[2 * i]), static_cast<int>(args[2 * i + 1]), -1, -1};
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

Shape fused_shape(Context& c, const FusedRecipe& recipe) {
  check(c.num_inputs() == recipe.inputs && c.num_outputs() == recipe.outputs, "[", c.node().op, "] the node has ",
        c.num_inputs(), " inputs and ", c.num_outputs(), " outputs, its attrs say ", recipe.inputs, " and ", recipe.outputs);
  int rank = 0;
  for (int i = 0; i < c.num_inputs(); ++i) rank = std::max(rank, c.input(i).shape().rank());
  Shape common;
  for (int k = 0; k < rank; ++k) common.add(1);
  for (int i = 0; i < c.num_inputs(); ++i) {
    const Shape& s = c.input(i).shape();
    for (int k = 0; k < s.rank(); ++k) {
      const int axis = rank - s.rank() + k;
      check(common[axis] == s[k] || common[axis] == 1 || s[k] == 1, "[", c.node().op, "] the inputs do not broadcast: input ",
            i, " is ", s);
      if (common[axis] == 1) common.set(axis, s[k]);
    }
  }
  return common;
}

Repeat repeat_of(const Node& node, const Shape& operand, const Shape& result, int but) {
  Repeat r;
  int stage = 0;  // from the back: 0 repeated, 1 matching, 2 repeated
  for (int k = 1 + but; k <= result.rank(); ++k) {
    const int64_t d = result[result.rank() - k];
    const int64_t own = k <= operand.rank() ? operand[operand.rank() - k] : 1;
    if (d == 1) continue;
    if (own == d) {
      check(stage < 2, "[", node.op, "] an input of shape ", operand, " repeats in ", result, " in two places");
      stage = 1;
      r.period *= d;
    } else if (stage == 0) {
      r.block *= d;
    } else {
      stage = 2;
    }
  }
  if (r.period == 1) r.block = 1;  // the same everywhere: not a block of all, which would have a phase
  return r;
}

}  // namespace rf
