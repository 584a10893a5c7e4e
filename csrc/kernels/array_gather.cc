// GatherV2, GatherNd, ScatterNd, DynamicPartition, DynamicStitch: rows moved by index.
#include <algorithm>
#include <cstring>

#include "kernels/axes.h"
#include "kernels/index.h"

namespace rf {
namespace {

// One row of a fixed number of bytes: the compiler turns these into a register move or two.
template <size_t kBytes>
struct FixedRow {
  void operator()(char* to, const char* from) const { std::memcpy(to, from, kBytes); }
};
struct Row {
  size_t bytes;
  void operator()(char* to, const char* from) const { std::memcpy(to, from, bytes); }
};

// to[i] = from[index[i]], rows of `bytes`.
template <class Index, class Copy>
void gather_rows(const char* from, const Index* index, int64_t n, int64_t bytes, char* to, const Copy& copy) {
  for (int64_t i = 0; i < n; ++i) {
    if (i + kRowsAhead < n) fetch_row<false>(from + static_cast<int64_t>(index[i + kRowsAhead]) * bytes, bytes);
    copy(to + i * bytes, from + static_cast<int64_t>(index[i]) * bytes);
  }
}

template <class Index>
void gather(const char* from, const Index* index, int64_t n, int64_t bytes, char* to) {
  switch (bytes) {
    case 4: return gather_rows(from, index, n, bytes, to, FixedRow<4>());
    case 8: return gather_rows(from, index, n, bytes, to, FixedRow<8>());
    case 16: return gather_rows(from, index, n, bytes, to, FixedRow<16>());
    case 32: return gather_rows(from, index, n, bytes, to, FixedRow<32>());
    case 64: return gather_rows(from, index, n, bytes, to, FixedRow<64>());
    case 128: return gather_rows(from, index, n, bytes, to, FixedRow<128>());
    case 256: return gather_rows(from, index, n, bytes, to, FixedRow<256>());
    default: return gather_rows(from, index, n, bytes, to, Row{static_cast<size_t>(bytes)});
  }
}

// params (batch.., outer.., n, inner..), indices (batch.., k..) -> (batch.., outer.., k.., inner..)
Kernel gather_v2(const Node& node) {
  const int64_t batch_attr = node.attr<int64_t>("batch_dims", 0);
  return [batch_attr](Context& c) {
    const Tensor &params = c.input(0), &indices = c.input(1);
    const Shape &p = params.shape(), &q = indices.shape();
    const int batch = static_cast<int>(batch_attr < 0 ? batch_attr + q.rank() : batch_attr);
    const int axis = c.num_inputs() > 2 ? axis_of(c, int_scalar(c, 2), p.rank()) : batch;
    check(axis < p.rank(), "[", c.node().op, "] params must have rows: their shape is ", p);
    check(batch >= 0 && batch <= axis && batch <= q.rank(), "[GatherV2] batch_dims ", batch_attr,
          " must not exceed axis ", axis, " nor the rank of indices ", q);
    for (int i = 0; i < batch; ++i)
      check(p[i] == q[i], "[GatherV2] batch dimension ", i, " differs: params ", p, ", indices ", q);
    Shape shape(p.begin(), p.begin() + axis);
    for (int i = batch; i < q.rank(); ++i) shape.add(q[i]);
    for (int i = axis + 1; i < p.rank(); ++i) shape.add(p[i]);
    const int64_t batches = p.product(0, batch), outer = p.product(batch, axis), n = p[axis];
    const int64_t k = q.product(batch, q.rank());
    const int64_t bytes = p.product(axis + 1, p.rank()) * static_cast<int64_t>(size_of(params.dtype()));
    const char* from = static_cast<const char*>(params.raw());
    visit_index(indices.dtype(), [&](auto tag) {
      using Index = typename decltype(tag)::type;
      const Index* index = indices.data<Index>();
      check_indices(c, index, indices.num_elements(), n);
      char* to = static_cast<char*>(c.output(0, shape).raw());
      if (bytes == 0) return;
      for (int64_t b = 0; b < batches; ++b)
        for (int64_t o = 0; o < outer; ++o)
          gather(from + (b * outer + o) * n * bytes, index + b * k, k, bytes, to + (b * outer + o) * k * bytes);
    });
  };
}

// Row number in a tensor of each index vector: indices (n.., depth) over the first `depth` dimensions of `shape`.
std::vector<int64_t> flat_rows(const Context& c, const Tensor& indices, const Shape& shape) {
  const int rank = indices.shape().rank();
  check(rank >= 1 && indices.dim(rank - 1) <= shape.rank(), "[", c.node().op, "] the last dimension of indices ",
        indices.shape(), " must not exceed the rank of ", shape);
  const int depth = static_cast<int>(indices.dim(rank - 1));
  std::vector<int64_t> rows(static_cast<size_t>(indices.shape().product(0, rank - 1)), 0);
  visit_index(indices.dtype(), [&](auto tag) {
    const auto* index = indices.data<typename decltype(tag)::type>();
    for (size_t i = 0; i < rows.size(); ++i)
      for (int d = 0; d < depth; ++d, ++index) {
        check(*index >= 0 && *index < shape[d], "[", c.node().op, "] indices[", i, ", ", d, "] = ", *index,
              " is out of range [0, ", shape[d], ")");
        rows[i] = rows[i] * shape[d] + *index;
      }
  });
  return rows;
}

Kernel gather_nd(const Node&) {
  return [](Context& c) {
    const Tensor &params = c.input(0), &indices = c.input(1);
    const std::vector<int64_t> rows = flat_rows(c, indices, params.shape());
    const Shape &p = params.shape(), &q = indices.shape();
    Shape shape(q.begin(), q.end() - 1);
    const int depth = static_cast<int>(q[q.rank() - 1]);
    for (int i = depth; i < p.rank(); ++i) shape.add(p[i]);
    const int64_t bytes = p.product(depth, p.rank()) * static_cast<int64_t>(size_of(params.dtype()));
    gather(static_cast<const char*>(params.raw()), rows.data(), static_cast<int64_t>(rows.size()), bytes,
           static_cast<char*>(c.output(0, shape).raw()));
  };
}

// Zeros of `shape` with the updates added at the indices.
template <class T>
Kernel scatter_nd(const Node&) {
  return [](Context& c) {
    const Tensor &indices = c.input(0), &updates = c.input(1);
    const std::vector<int64_t> dims = int_values(c.input(2));
    const Shape shape(dims.begin(), dims.end()), &q = indices.shape();
    const std::vector<int64_t> rows = flat_rows(c, indices, shape);
    Shape expected(q.begin(), q.end() - 1);
    for (int i = static_cast<int>(q[q.rank() - 1]); i < shape.rank(); ++i) expected.add(shape[i]);
    check(updates.shape() == expected, "[ScatterNd] updates must have the shape ", expected, ": got ", updates.shape());
    Tensor& y = c.output(0, shape);
    std::memset(y.raw(), 0, y.bytes());
    const int64_t inner = rows.empty() ? 0 : updates.num_elements() / static_cast<int64_t>(rows.size());
    const T* in = updates.data<T>();
    T* out = y.data<T>();
    for (size_t i = 0; i < rows.size(); ++i)
      add_row(out + rows[i] * inner, in + static_cast<int64_t>(i) * inner, inner);
  };
}

Kernel dynamic_partition(const Node& node) {
  const int64_t parts = node.attr<int64_t>("num_partitions");
  return [parts](Context& c) {
    const Tensor &data = c.input(0), &partitions = c.input(1);
    const Shape &d = data.shape(), &p = partitions.shape();
    check(d.rank() >= p.rank() && Shape(d.begin(), d.begin() + p.rank()) == p,
          "[DynamicPartition] the shape of data, ", d, ", must begin with that of partitions, ", p);
    const int64_t n = p.num_elements();
    const size_t bytes = static_cast<size_t>(d.product(p.rank(), d.rank())) * size_of(data.dtype());
    const int32_t* part = partitions.data<int32_t>();
    check_indices(c, part, n, parts);
    std::vector<int64_t> counts(static_cast<size_t>(parts), 0);
    for (int64_t i = 0; i < n; ++i) ++counts[static_cast<size_t>(part[i])];
    std::vector<char*> to;
    for (int64_t k = 0; k < parts; ++k) {
      Shape shape{counts[static_cast<size_t>(k)]};
      for (int i = p.rank(); i < d.rank(); ++i) shape.add(d[i]);
      to.push_back(static_cast<char*>(c.output(static_cast<int>(k), shape).raw()));
    }
    const char* from = static_cast<const char*>(data.raw());
    for (int64_t i = 0; i < n; ++i, from += bytes) {
      char*& target = to[static_cast<size_t>(part[i])];
      std::memcpy(target, from, bytes);
      target += bytes;
    }
  };
}

// Row indices[k][i] of the output is row i of data[k]; the later input wins, rows that none names are 0.
Kernel dynamic_stitch(const Node&) {
  return [](Context& c) {
    const int n = c.num_inputs() / 2;
    int64_t rows = 0;
    Shape row;
    for (int k = 0; k < n; ++k) {
      const Shape &p = c.input(k).shape(), &d = c.input(n + k).shape();
      check(d.rank() >= p.rank() && Shape(d.begin(), d.begin() + p.rank()) == p, "[DynamicStitch] the shape of data[", k,
            "], ", d, ", must begin with that of indices[", k, "], ", p);
      const Shape tail(d.begin() + p.rank(), d.end());
      check(k == 0 || tail == row, "[DynamicStitch] data[", k, "] has rows of shape ", tail, ", data[0] of ", row);
      row = tail;
      const int32_t* index = c.input(k).data<int32_t>();
      for (int64_t i = 0, count = p.num_elements(); i < count; ++i) {
        check(index[i] >= 0, "[DynamicStitch] indices must be >= 0: got ", index[i]);
        rows = std::max(rows, int64_t{index[i]} + 1);
      }
    }
    Shape shape{rows};
    for (int64_t d : row) shape.add(d);
    Tensor& y = c.output(0, shape);
    for (int k = 0; k < n; ++k)
      check(c.input(n + k).dtype() == y.dtype() && size_of(y.dtype()) != 0, "[DynamicStitch] data[", k, "] must be of the ",
            "output's dtype, numbers of ", name_of(y.dtype()), ": got ", name_of(c.input(n + k).dtype()));
    const size_t bytes = static_cast<size_t>(row.num_elements()) * size_of(y.dtype());
    char* out = static_cast<char*>(y.raw());
    std::vector<bool> written(static_cast<size_t>(rows), false);
    for (int k = 0; k < n; ++k) {
      const int32_t* index = c.input(k).data<int32_t>();
      const char* from = static_cast<const char*>(c.input(n + k).raw());
      for (int64_t i = 0, count = c.input(k).num_elements(); i < count; ++i, from += bytes) {
        std::memcpy(out + static_cast<size_t>(index[i]) * bytes, from, bytes);
        written[static_cast<size_t>(index[i])] = true;
      }
    }
    for (size_t i = 0; i < written.size(); ++i)
      if (!written[i]) std::memset(out + i * bytes, 0, bytes);
  };
}

RF_KERNEL_ANY("GatherV2", None, gather_v2)
RF_KERNEL_ANY("ResourceGather", None, gather_v2)
RF_KERNEL_ANY("GatherNd", None, gather_nd)
RF_KERNEL("ScatterNd", scatter_nd, float, double, int32_t, int64_t)
RF_KERNEL_ANY("DynamicPartition", None, dynamic_partition)
RF_KERNEL_ANY("DynamicStitch", None, dynamic_stitch)
RF_KERNEL_ANY("ParallelDynamicStitch", None, dynamic_stitch)

}  // namespace
}  // namespace rf
