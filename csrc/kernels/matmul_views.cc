// `_MatMulOfViews`: a batch of products of matrices that lie in larger tensors, by strides in elements.
//
// The attrs say where: they are checked against the tensors, since a graph may come from anywhere. Products of the batch
// are shared between the threads, or the threads share each product; the bits are the same.
#include <cstring>

#include "base/parallel.h"
#include "kernels/gemm.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

// Matrices of rows x columns in a flat tensor.
struct View {
  int64_t offset = 0, row = 0, column = 0;
  std::vector<int64_t> batch;

  int64_t at(const std::vector<int64_t>& dims, int64_t index) const {
    int64_t element = offset;
    for (size_t axis = dims.size(); axis-- > 0;) {
      element += index % dims[axis] * batch[axis];
      index /= dims[axis];
    }
    return element;
  }
};

View read_view(const Node& node, const char* name, size_t batch) {
  const std::vector<int64_t> v = node.list<int64_t>(name);
  check(v.size() == batch + 3, "[", node.op, "] attr '", name, "' of node '", node.name, "' must have ", batch + 3,
        " numbers: got ", v.size());
  for (int64_t x : v) check(x >= 0 && x < int64_t{1} << 40, "[", node.op, "] attr '", name, "' of node '", node.name, "' holds ", x);
  return View{v[0], v[batch + 1], v[batch + 2], {v.begin() + 1, v.begin() + 1 + static_cast<std::ptrdiff_t>(batch)}};
}

struct Recipe {
  std::vector<int64_t> batch;
  int64_t count = 1, m = 0, k = 0, n = 0;
  View x, y, output;
  Shape shape;
};

Recipe read_recipe(const Node& node) {
  Recipe r;
  r.batch = node.list<int64_t>("batch");
  const std::vector<int64_t> sizes = node.list<int64_t>("sizes"), shape = node.list<int64_t>("output_shape");
  check(sizes.size() == 3 && r.batch.size() <= static_cast<size_t>(Shape::kMaxRank) &&
            shape.size() <= static_cast<size_t>(Shape::kMaxRank),
        "[", node.op, "] node '", node.name, "' is damaged: ", sizes.size(), " sizes, ", r.batch.size(), " batch dimensions");
  for (const auto& dims : {r.batch, sizes, shape})
    for (int64_t d : dims)
      check(d >= 0 && d < int64_t{1} << 31, "[", node.op, "] node '", node.name, "' is damaged: it has a dimension ", d);
  for (int64_t d : r.batch) {
    r.count *= d;
    check(r.count < int64_t{1} << 31, "[", node.op, "] node '", node.name, "' is damaged: its batch is too large");
  }
  r.m = sizes[0];
  r.k = sizes[1];
  r.n = sizes[2];
  r.x = read_view(node, "x_view", r.batch.size());
  r.y = read_view(node, "y_view", r.batch.size());
  r.output = read_view(node, "output_view", r.batch.size());
  r.shape = Shape(shape.begin(), shape.end());
  return r;
}

// InvalidArgument unless every element of the view is one of `elements`.
void check_inside(const Node& node, const Recipe& r, const View& view, int64_t rows, int64_t columns, int64_t elements) {
  __int128 last = static_cast<__int128>(view.offset) + static_cast<__int128>(rows - 1) * view.row +
                  static_cast<__int128>(columns - 1) * view.column;
  for (size_t axis = 0; axis < r.batch.size(); ++axis) last += static_cast<__int128>(r.batch[axis] - 1) * view.batch[axis];
  check(last < elements, "[", node.op, "] node '", node.name, "' is damaged: it reads or writes past the end of a tensor of ",
        elements, " elements");
}

template <class T>
Kernel matmul_of_views(const Node& node) {
  const Recipe r = read_recipe(node);
  check((r.x.row == 1 || r.x.column == 1) && (r.y.row == 1 || r.y.column == 1) && r.output.column == 1, "[", node.op,
        "] node '", node.name, "' is damaged: rows or columns must be contiguous");
  const bool ta = r.x.column != 1, tb = r.y.column != 1;
  const int64_t lda = ta ? r.x.column : r.x.row, ldb = tb ? r.y.column : r.y.row;
  check(lda >= (ta ? r.m : r.k) && ldb >= (tb ? r.k : r.n) && r.output.row >= r.n, "[", node.op, "] node '", node.name,
        "' is damaged: rows or columns overlap");
  return [r, ta, tb, lda, ldb](Context& c) {
    const Tensor &x = c.input(0), &y = c.input(1);
    Tensor& out = c.output(0, r.shape);
    T* z = out.data<T>();
    if (r.count * r.m * r.n == 0 || r.k == 0) return void(std::memset(out.raw(), 0, out.bytes()));
    check_inside(c.node(), r, r.x, r.m, r.k, x.num_elements());
    check_inside(c.node(), r, r.y, r.k, r.n, y.num_elements());
    check_inside(c.node(), r, r.output, r.m, r.n, out.num_elements());
    const bool few = r.count < intra_op_threads();  // then each product uses the threads
    const int64_t grain = few ? r.count : 1 + kWorthAThread / (r.m * r.n * r.k + 1);
    parallel_for(r.count, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        gemm(ta, tb, r.m, r.n, r.k, T(1), x.data<T>() + r.x.at(r.batch, i), lda, y.data<T>() + r.y.at(r.batch, i), ldb, T(0),
             z + r.output.at(r.batch, i), r.output.row);
    });
  };
}

}  // namespace

RF_KERNEL("_MatMulOfViews", matmul_of_views, float, double)

}  // namespace rf
