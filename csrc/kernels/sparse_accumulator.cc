// The conditional accumulator of sparse gradients: rows by index. What is taken has every index once, ascending; a mean is
// over the gradients that had the row, not over all. Rows that one gradient has twice are summed, and count once.
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/accumulator.h"

namespace rf {
namespace {

class SparseAccumulator : public Accumulator {
 public:
  using Accumulator::Accumulator;

  template <class T>
  void add(int64_t local_step, const std::vector<int64_t>& indices, const Tensor& values, const std::vector<int64_t>* shape) {
    const T* in = values.data<T>();
    check(spec_.dtype == values.dtype(), "[", spec_.op, "] accumulator '", spec_.name, "' sums ", name_of(spec_.dtype),
          ": got ", name_of(values.dtype()));
    apply(local_step, [&](bool first) {
      check_fit(indices, values, shape, first);
      if (first) row_shape_ = Shape(values.shape().begin() + 1, values.shape().end());
      const size_t width = static_cast<size_t>(row_shape_.num_elements());
      for (size_t k = 0; k < indices.size(); ++k) {
        const auto [it, fresh] = rows_.try_emplace(indices[k], Row{rows_.size(), 0, 0});
        Row& row = it->second;
        if (fresh) sums_.resize(sums_.size() + width * sizeof(T));
        T* sum = reinterpret_cast<T*>(sums_.data()) + row.place * width;
        const T* from = in + k * width;
        for (size_t j = 0; j < width; ++j) sum[j] = fresh ? from[j] : sum[j] + from[j];
        if (row.last != gradients_ + 1) ++row.count;
        row.last = gradients_ + 1;
      }
      ++gradients_;
      write_ = &SparseAccumulator::write<T>;
    });
  }

 private:
  struct Row {
    size_t place;   // in sums_
    int64_t count;  // gradients that had it
    int64_t last;   // number of the last of them, from 1
  };
  using Rows = std::map<int64_t, Row>;

  void check_fit(const std::vector<int64_t>& indices, const Tensor& values, const std::vector<int64_t>* shape, bool first) {
    const std::string where = text("[", spec_.op, "] Shape mismatch: accumulator '", spec_.name, "' ");
    check(values.rank() >= 1 && values.dim(0) == static_cast<int64_t>(indices.size()), where, "expected ", indices.size(),
          " rows, one for each index, got values of shape ", values.shape());
    const PartialShape& known = spec_.shape;
    PartialShape rows = known;
    if (!first)
      rows = {false, {row_shape_.begin(), row_shape_.end()}};
    else if (!known.unknown_rank && !known.dims.empty())
      rows.dims.erase(rows.dims.begin());
    check(fits(rows, values.shape(), 1), where, "expected rows of shape ", text_of(rows), ", got values of shape ",
          values.shape());
    int64_t limit = known.unknown_rank || known.dims.empty() ? -1 : known.dims[0];
    if (shape) {
      const PartialShape whole{false, *shape};
      check(whole.dims.size() == static_cast<size_t>(values.rank()) &&
                fits({false, {whole.dims.begin() + 1, whole.dims.end()}}, values.shape(), 1) &&
                (limit < 0 || whole.dims[0] == limit),
            where, "expected ", text_of(known), " and values of shape ", values.shape(), ", got gradient_shape ",
            text_of(whole));
      limit = whole.dims[0];
    }
    for (int64_t i : indices)
      check(i >= 0 && (limit < 0 || i < limit), where, "has ", limit, " rows: index ", i, " is out of range");
  }

  Write release(int64_t) override {
    return [this_write = write_, rows = std::exchange(rows_, {}), sums = std::exchange(sums_, {}), row_shape = row_shape_,
            known = spec_.shape, mean = spec_.mean](Context& c) { this_write(c, rows, sums, row_shape, known, mean); };
  }

  template <class T>
  static void write(Context& c, const Rows& rows, const std::vector<char>& sums, const Shape& row_shape,
                    const PartialShape& known, bool mean) {
    Shape shape{static_cast<int64_t>(rows.size())};
    for (int64_t d : row_shape) shape.add(d);
    const size_t width = static_cast<size_t>(row_shape.num_elements());
    int64_t* indices = c.output(0, {static_cast<int64_t>(rows.size())}).data<int64_t>();
    T* values = c.output(1, shape).data<T>();
    for (const auto& [index, row] : rows) {
      *indices++ = index;
      const T* sum = reinterpret_cast<const T*>(sums.data()) + row.place * width;
      for (size_t j = 0; j < width; ++j)
        *values++ = mean ? static_cast<T>(sum[j] / static_cast<T>(row.count)) : sum[j];
    }
    int64_t* dims = c.output(2, {shape.rank()}).data<int64_t>();
    for (int i = 0; i < shape.rank(); ++i) dims[i] = shape[i];
    dims[0] = known.unknown_rank || known.dims.empty() ? -1 : known.dims[0];
  }

  // All under mutex_.
  Rows rows_;
  std::vector<char> sums_;
  Shape row_shape_;
  int64_t gradients_ = 0;
  void (*write_)(Context&, const Rows&, const std::vector<char>&, const Shape&, const PartialShape&, bool) = nullptr;
};

template <class T>
Kernel apply_gradient(const Node& node) {
  return [has_shape = node.attr<bool>("has_known_shape")](Context& c) {
    check(c.input(2).rank() == 1, "[", c.node().op, "] Input indices should be vector but received shape: ",
          c.input(2).shape());
    const std::vector<int64_t> indices = int_values(c.input(2)), shape = int_values(c.input(4));
    c.resource<SparseAccumulator>(0)->add<T>(c.input(1).scalar<int64_t>(), indices, c.input(3),
                                             has_shape ? &shape : nullptr);
  };
}

RF_KERNEL_ANY("SparseConditionalAccumulator", None, accumulator_kernel<SparseAccumulator>)
RF_KERNEL_BY("SparseAccumulatorApplyGradient", "dtype", apply_gradient, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
