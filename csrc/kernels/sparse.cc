// SparseReshape, SparseToDense, SparseFillEmptyRows and its gradient: sparse tensors as (indices, values, dense_shape).
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/index.h"

namespace rf {
namespace {

// Elements between neighbours along each axis of a dense tensor.
std::vector<int64_t> steps_of(const std::vector<int64_t>& dims) {
  std::vector<int64_t> steps(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) steps[i - 1] = steps[i] * dims[i];
  return steps;
}

int64_t product(const std::vector<int64_t>& dims) {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

Kernel sparse_reshape(const Node&) {
  return [](Context& c) {
    const Tensor& indices = c.input(0);
    const auto from = int_values(c.input(1));
    auto to = int_values(c.input(2));
    check(indices.rank() == 2 && indices.dim(1) == static_cast<int64_t>(from.size()),
          "[SparseReshape] input_indices must be (n, rank of input_shape): got ", indices.shape());
    const int64_t size = product(from);
    int64_t rest = 1, unknown = -1;
    for (size_t i = 0; i < to.size(); ++i) {
      check(to[i] >= 0 || (to[i] == -1 && unknown < 0), "[SparseReshape] new_shape may hold one -1 and numbers >= 0: got ",
            to[i]);
      if (to[i] < 0)
        unknown = static_cast<int64_t>(i);
      else
        rest *= to[i];
    }
    if (unknown >= 0 && rest != 0 && size % rest == 0) to[static_cast<size_t>(unknown)] = size / rest;
    check(product(to) == size && (unknown < 0 || rest != 0),
          "[SparseReshape] the number of elements must stay: input_shape has ", size, ", new_shape ", product(to));
    const auto in_steps = steps_of(from), out_steps = steps_of(to);
    const int64_t n = indices.dim(0), rank = static_cast<int64_t>(to.size());
    const int64_t* in = indices.data<int64_t>();
    int64_t* out = c.output(0, {n, rank}).data<int64_t>();
    for (int64_t i = 0; i < n; ++i) {
      int64_t flat = 0;
      for (int64_t step : in_steps) flat += *in++ * step;
      for (size_t k = 0; k < to.size(); ++k)
        *out++ = flat / std::max<int64_t>(out_steps[k], 1) % std::max<int64_t>(to[k], 1);
    }
    std::copy(to.begin(), to.end(), c.output(1, {rank}).data<int64_t>());
  };
}

Kernel sparse_to_dense(const Node& node) {
  const bool validate = node.attr<bool>("validate_indices", true);
  return [validate](Context& c) {
    const Tensor &indices = c.input(0), &values = c.input(2), &absent = c.input(3);
    const auto dims = int_values(c.input(1));
    const int64_t n = indices.rank() == 0 ? 1 : indices.dim(0), rank = indices.rank() == 2 ? indices.dim(1) : 1;
    check(indices.rank() <= 2 && rank == static_cast<int64_t>(dims.size()),
          "[SparseToDense] sparse_indices ", indices.shape(), " must fit output_shape of ", dims.size(), " dimensions");
    check(values.rank() == 0 || values.shape() == Shape{n}, "[SparseToDense] sparse_values must be a scalar or (", n,
          ",): got ", values.shape());
    check(absent.num_elements() == 1, "[SparseToDense] default_value must be a scalar: got ", absent.shape());
    const auto steps = steps_of(dims), at = int_values(indices);
    Tensor& y = c.output(0, Shape(dims.begin(), dims.end()));
    const size_t bytes = size_of(y.dtype());
    char* out = static_cast<char*>(y.raw());
    for (int64_t i = 0, size = y.num_elements(); i < size; ++i)
      std::memcpy(out + static_cast<size_t>(i) * bytes, absent.raw(), bytes);
    int64_t before = -1;
    for (int64_t i = 0; i < n; ++i) {
      int64_t flat = 0;
      for (size_t k = 0; k < dims.size(); ++k) {
        const int64_t index = at[static_cast<size_t>(i) * dims.size() + k];
        check(index >= 0 && index < dims[k], "[SparseToDense] sparse_indices[", i, ", ", k, "] = ", index,
              " is out of range [0, ", dims[k], ")");
        flat += index * steps[k];
      }
      check(!validate || flat > before, "[SparseToDense] indices must be ascending and different: row ", i,
            " is not. Fix: sort them, or set validate_indices=False");
      before = flat;
      const char* value = static_cast<const char*>(values.raw());
      std::memcpy(out + static_cast<size_t>(flat) * bytes, value + (values.rank() ? static_cast<size_t>(i) * bytes : 0),
                  bytes);
    }
  };
}

Kernel sparse_fill_empty_rows(const Node&) {
  return [](Context& c) {
    const Tensor &indices = c.input(0), &values = c.input(1), &absent = c.input(3);
    const auto dims = int_values(c.input(2));
    check(indices.rank() == 2 && indices.dim(1) == static_cast<int64_t>(dims.size()) && !dims.empty() &&
              values.shape() == Shape{indices.dim(0)} && dims[0] >= 0,
          "[SparseFillEmptyRows] indices must be (n, rank) and values (n,): got ", indices.shape(), " and ", values.shape());
    check(absent.num_elements() == 1, "[SparseFillEmptyRows] default_value must be a scalar: got ", absent.shape());
    const int64_t n = indices.dim(0), rank = indices.dim(1), rows = dims[0];
    const int64_t* in = indices.data<int64_t>();
    std::vector<int64_t> next(static_cast<size_t>(rows) + 1, 0);  // where the next element of each row goes
    for (int64_t i = 0; i < n; ++i) {
      check(in[i * rank] >= 0 && in[i * rank] < rows, "[SparseFillEmptyRows] indices[", i, ", 0] = ", in[i * rank],
            " is out of range [0, ", rows, ")");
      ++next[static_cast<size_t>(in[i * rank]) + 1];
    }
    bool* empty = c.output(2, {rows}).data<bool>();
    for (int64_t r = 0; r < rows; ++r) {
      int64_t& count = next[static_cast<size_t>(r) + 1];
      empty[r] = count == 0;
      count = next[static_cast<size_t>(r)] + std::max<int64_t>(count, 1);
    }
    const int64_t total = next[static_cast<size_t>(rows)];
    int64_t* out = c.output(0, {total, rank}).data<int64_t>();
    Tensor& result = c.output(1, {total});
    int64_t* moved = c.output(3, {n}).data<int64_t>();
    const bool strings = result.dtype() == DType::String;
    const auto put = [&](const Tensor& from, int64_t i, int64_t at) {
      const size_t bytes = size_of(result.dtype());
      if (strings)
        result.data<std::string>()[at] = from.data<std::string>()[i];
      else
        std::memcpy(static_cast<char*>(result.raw()) + static_cast<size_t>(at) * bytes,
                    static_cast<const char*>(from.raw()) + static_cast<size_t>(i) * bytes, bytes);
    };
    for (int64_t r = 0; r < rows; ++r) {
      if (!empty[r]) continue;
      const int64_t at = next[static_cast<size_t>(r)];
      std::fill(out + at * rank, out + (at + 1) * rank, int64_t{0});
      out[at * rank] = r;
      put(absent, 0, at);
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = next[static_cast<size_t>(in[i * rank])]++;
      std::copy(in + i * rank, in + (i + 1) * rank, out + at * rank);
      put(values, i, at);
      moved[i] = at;
    }
  };
}

template <class T>
Kernel sparse_fill_empty_rows_grad(const Node&) {
  return [](Context& c) {
    const Tensor &moved = c.input(0), &grad = c.input(1);
    check(moved.rank() == 1 && grad.rank() == 1, "[SparseFillEmptyRowsGrad] both inputs must be vectors: got shapes ",
          moved.shape(), " and ", grad.shape());
    const int64_t n = moved.num_elements(), total = grad.num_elements();
    const int64_t* at = moved.data<int64_t>();
    check_indices(c, at, n, total);
    const T* in = grad.data<T>();
    T* out = c.output(0, {n}).template data<T>();
    std::vector<bool> taken(static_cast<size_t>(total), false);
    for (int64_t i = 0; i < n; ++i) {
      out[i] = in[at[i]];
      taken[static_cast<size_t>(at[i])] = true;
    }
    T rest = T(0);
    for (int64_t i = 0; i < total; ++i)
      if (!taken[static_cast<size_t>(i)]) rest += in[i];
    *c.output(1, {}).template data<T>() = rest;
  };
}

RF_KERNEL_ANY("SparseReshape", None, sparse_reshape)
RF_KERNEL_ANY("SparseToDense", None, sparse_to_dense)
RF_KERNEL_ANY("SparseFillEmptyRows", None, sparse_fill_empty_rows)
RF_KERNEL("SparseFillEmptyRowsGrad", sparse_fill_empty_rows_grad, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
