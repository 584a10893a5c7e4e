// `_MatMulOfViews`: batches of products of matrices that lie in larger tensors, by strides in elements.
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

// One for each of `count` products.
std::vector<View> read_views(const Node& node, const char* name, size_t batch, size_t count) {
  const std::vector<int64_t> v = node.list<int64_t>(name);
  check(v.size() == count * (batch + 3), "[", node.op, "] attr '", name, "' of node '", node.name, "' must have ",
        count * (batch + 3), " numbers: got ", v.size());
  for (int64_t x : v) check(x >= 0 && x < int64_t{1} << 40, "[", node.op, "] attr '", name, "' of node '", node.name, "' holds ", x);
  std::vector<View> views;
  for (auto at = v.begin(); at != v.end(); at += static_cast<std::ptrdiff_t>(batch + 3)) {
    const auto end = at + 1 + static_cast<std::ptrdiff_t>(batch);
    views.push_back({at[0], end[0], end[1], {at + 1, end}});
  }
  return views;
}

struct Product {
  int64_t m, k, n;
  View x, y, output;
  bool ta, tb;  // whether columns, not rows, are contiguous
  int64_t lda, ldb;
};

struct Recipe {
  std::vector<int64_t> batch;
  int64_t count = 1;  // of the batch
  std::vector<Product> products;
  Shape shape;
};

Product product(const Node& node, const int64_t* sizes, const View& x, const View& y, const View& output) {
  Product p{sizes[0], sizes[1], sizes[2], x, y, output, x.column != 1, y.column != 1, 0, 0};
  check((x.row == 1 || x.column == 1) && (y.row == 1 || y.column == 1) && output.column == 1, "[", node.op, "] node '",
        node.name, "' is damaged: rows or columns must be contiguous");
  p.lda = p.ta ? x.column : x.row;
  p.ldb = p.tb ? y.column : y.row;
  check(p.lda >= (p.ta ? p.m : p.k) && p.ldb >= (p.tb ? p.k : p.n) && output.row >= p.n, "[", node.op, "] node '", node.name,
        "' is damaged: rows or columns overlap");
  return p;
}

Recipe read_recipe(const Node& node) {
  Recipe r;
  r.batch = node.list<int64_t>("batch");
  const std::vector<int64_t> sizes = node.list<int64_t>("sizes"), shape = node.list<int64_t>("output_shape");
  const size_t count = static_cast<size_t>(node.attr<int64_t>("N"));
  check(count > 0 && sizes.size() == 3 * count && r.batch.size() <= static_cast<size_t>(Shape::kMaxRank) &&
            shape.size() <= static_cast<size_t>(Shape::kMaxRank),
        "[", node.op, "] node '", node.name, "' is damaged: ", sizes.size(), " sizes, ", r.batch.size(), " batch dimensions");
  for (const auto& dims : {r.batch, sizes, shape})
    for (int64_t d : dims)
      check(d >= 0 && d < int64_t{1} << 31, "[", node.op, "] node '", node.name, "' is damaged: it has a dimension ", d);
  for (int64_t d : r.batch) {
    r.count *= d;
    check(r.count < int64_t{1} << 31, "[", node.op, "] node '", node.name, "' is damaged: its batch is too large");
  }
  const auto views = [&](const char* name) { return read_views(node, name, r.batch.size(), count); };
  const std::vector<View> x = views("x_view"), y = views("y_view"), output = views("output_view");
  for (size_t i = 0; i < count; ++i) r.products.push_back(product(node, &sizes[3 * i], x[i], y[i], output[i]));
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
  return [r](Context& c) {
    const int products = static_cast<int>(r.products.size());
    check(c.num_inputs() == 2 * products, "[", c.node().op, "] node '", c.node().name, "' is damaged: it has ",
          c.num_inputs(), " inputs for ", products, " products");
    Tensor& out = c.output(0, r.shape);
    T* const z = out.data<T>();
    for (int i = 0; i < products; ++i) {
      const Product& p = r.products[static_cast<size_t>(i)];
      const Tensor &x = c.input(i), &y = c.input(products + i);
      if (r.count * p.m * p.n == 0 || p.k == 0) {
        check(products == 1, "[", c.node().op, "] node '", c.node().name, "' is damaged: an empty product among others");
        return void(std::memset(out.raw(), 0, out.bytes()));
      }
      check_inside(c.node(), r, p.x, p.m, p.k, x.num_elements());
      check_inside(c.node(), r, p.y, p.k, p.n, y.num_elements());
      check_inside(c.node(), r, p.output, p.m, p.n, out.num_elements());
      const bool few = r.count < intra_op_threads();  // then each product uses the threads
      const int64_t grain = few ? r.count : 1 + kWorthAThread / (p.m * p.n * p.k + 1);
      parallel_for(r.count, grain, [&](int64_t begin, int64_t end, int) {
        for (int64_t b = begin; b < end; ++b)
          gemm(p.ta, p.tb, p.m, p.n, p.k, T(1), x.data<T>() + p.x.at(r.batch, b), p.lda, y.data<T>() + p.y.at(r.batch, b),
               p.ldb, T(0), z + p.output.at(r.batch, b), p.output.row);
      });
    }
  };
}

}  // namespace

RF_KERNEL("_MatMulOfViews", matmul_of_views, float, double)

}  // namespace rf
