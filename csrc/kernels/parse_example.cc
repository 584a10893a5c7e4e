// Serialized examples into tensors: ParseExample, ParseExampleV2, ParseSingleExample.
//
// The examples are read into columns (io/example.h); then each kind of feature gets its outputs: sparse (indices, values,
// shape), dense (a batch, padded where its first dimension is open), ragged (values, row splits).
// Source: TensorFlow's fast example parser.
#include <algorithm>

#include "io/example.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

using String = std::string;

struct Dense {
  std::vector<int64_t> dims;
  bool open = false;  // the first dimension is the example's own
  int64_t elements = 1;  // of an example, or of a row where it is open
};

// What a node asks for. Columns are in the order sparse, dense, ragged.
struct Spec {
  std::vector<FeatureColumn> columns;
  size_t num_sparse = 0, num_ragged = 0;
  std::vector<Dense> dense;
  std::vector<DType> split_types;

  void add(const std::vector<String>& keys, const std::vector<DType>& types, const char* what) {
    check(keys.size() == types.size(), "[ParseExample] there must be one type for each ", what, " key: got ", types.size(),
          " for ", keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      FeatureColumn c;
      c.key = keys[i];
      c.dtype = types[i];
      columns.push_back(std::move(c));
    }
  }
};

std::vector<Dense> dense_shapes(const Node& node) {
  std::vector<Dense> all;
  for (const PartialShape& s : node.list<PartialShape>("dense_shapes")) {
    Dense d;
    d.dims = s.dims;
    d.open = !s.dims.empty() && s.dims[0] < 0;
    check(!s.unknown_rank && std::all_of(s.dims.begin() + d.open, s.dims.end(), [](int64_t n) { return n >= 0; }), "[", node.op,
          "] of a dense shape only the first dimension may be unknown");
    d.elements = Shape(s.dims.begin() + d.open, s.dims.end()).num_elements();
    all.push_back(std::move(d));
  }
  return all;
}

template <class F>
void visit_column(DType dtype, F f) {
  if (dtype == DType::String) return f(Type<String>{});
  if (dtype == DType::Float) return f(Type<float>{});
  f(Type<int64_t>{});
}

// One batch and the outputs that it fills.
class Parse {
 public:
  Parse(Context& c, Spec spec, const Tensor& serialized, const Tensor* names, int first_default)
      : c_(c), spec_(std::move(spec)), names_(names), first_default_(first_default), single_(serialized.rank() == 0),
        n_(serialized.num_elements()), reader_(std::move(spec_.columns)) {
    check(serialized.rank() <= 1, "[", c.node().op, "] serialized must be a vector or a scalar: got ", serialized.shape());
    check(!names || names->num_elements() == 0 || names->num_elements() == n_, "[", c.node().op,
          "] names must be empty or one for each of the ", n_, " examples: got ", names->shape());
    for (int64_t i = 0; i < n_; ++i) reader_.add(serialized.data<String>()[i], where(i));
  }

  void fill() {
    const int s = static_cast<int>(spec_.num_sparse), d = static_cast<int>(spec_.dense.size()),
              r = static_cast<int>(spec_.num_ragged);
    for (int i = 0; i < s; ++i) sparse(i, s + i, 2 * s + i, column(i));
    for (int i = 0; i < d; ++i) dense(3 * s + i, column(s + i), spec_.dense[static_cast<size_t>(i)], c_.input(first_default_ + i));
    for (int i = 0; i < r; ++i)
      ragged(3 * s + d + i, 3 * s + d + r + i, column(s + d + i), spec_.split_types[static_cast<size_t>(i)]);
  }

 private:
  FeatureColumn& column(int i) { return reader_.columns()[static_cast<size_t>(i)]; }
  String where(int64_t i) const {
    const bool named = names_ && names_->num_elements() != 0;
    return text("[", c_.node().op, "] Name: ", named ? names_->data<String>()[i] : "<unknown>", ", Index: ", i, ". ");
  }

  void values(int output, FeatureColumn& column) {
    visit_column(column.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      auto& all = column.values<T>();
      T* out = c_.output(output, {static_cast<int64_t>(all.size())}).template data<T>();
      std::move(all.begin(), all.end(), out);
    });
  }

  void sparse(int indices, int values_output, int shape, FeatureColumn& column) {
    int64_t total = 0, most = 0;
    for (int64_t count : column.counts) {
      total += std::max<int64_t>(count, 0);
      most = std::max(most, count);
    }
    int64_t* at = c_.output(indices, {total, single_ ? 1 : 2}).data<int64_t>();
    for (int64_t i = 0; i < n_; ++i)
      for (int64_t k = 0; k < column.counts[static_cast<size_t>(i)]; ++k) {
        if (!single_) *at++ = i;
        *at++ = k;
      }
    values(values_output, column);
    int64_t* dims = c_.output(shape, {single_ ? 1 : 2}).data<int64_t>();
    if (!single_) *dims++ = n_;
    *dims = most;
  }

  void ragged(int values_output, int splits, FeatureColumn& column, DType split_type) {
    Tensor& out = c_.output(splits, {single_ ? 0 : n_ + 1});
    check(out.dtype() == split_type, "[", c_.node().op, "] row splits must be ", name_of(split_type));
    visit_index(split_type, [&](auto type) {
      using T = typename decltype(type)::type;
      T* at = out.data<T>();
      int64_t end = 0;
      if (!single_) *at++ = 0;
      for (int64_t i = 0; i < n_ && !single_; ++i) *at++ = static_cast<T>(end += std::max<int64_t>(column.counts[static_cast<size_t>(i)], 0));
    });
    values(values_output, column);
  }

  void dense(int output, FeatureColumn& column, const Dense& how, const Tensor& missing) {
    check(missing.dtype() == column.dtype, "[", c_.node().op, "] Key: ", column.key, ". The default must be ",
          name_of(column.dtype), ": got ", name_of(missing.dtype()));
    std::vector<int64_t> dims = how.dims;
    int64_t elements = how.elements;
    if (how.open) {
      dims[0] = 0;
      for (int64_t i = 0; i < n_; ++i) {
        const int64_t count = std::max<int64_t>(column.counts[static_cast<size_t>(i)], 0);
        check(how.elements != 0 && count % how.elements == 0, where(i), "Key: ", column.key, ". Number of ", name_of(column.dtype),
              " values must be a multiple of ", how.elements, ": got ", count);
        dims[0] = std::max(dims[0], count / how.elements);
      }
      elements = how.elements * dims[0];
      check(missing.num_elements() <= 1, "[", c_.node().op, "] Key: ", column.key,
            ". The default of a feature of open length pads it and must be one element: got ", missing.shape());
    }
    Shape shape;
    if (!single_) shape.add(n_);
    for (int64_t d : dims) shape.add(d);
    visit_column(column.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const T* padding = missing.num_elements() ? missing.data<T>() : nullptr;
      T* out = c_.output(output, shape).template data<T>();
      T* from = column.values<T>().data();
      for (int64_t i = 0; i < n_; ++i, out += elements) {
        const int64_t count = column.counts[static_cast<size_t>(i)];
        if (how.open) {
          const int64_t present = std::max<int64_t>(count, 0);
          std::move(from, from + present, out);
          std::fill(out + present, out + elements, padding ? *padding : T());
          from += present;
        } else if (count == FeatureColumn::kAbsent) {
          check(missing.num_elements() == elements, where(i), "Feature: ", column.key, " (data type: ", name_of(column.dtype),
                ") is required but could not be found.");
          std::copy(padding, padding + elements, out);
        } else {
          check(count == elements, where(i), "Key: ", column.key, ". Number of ", name_of(column.dtype),
                " values != expected. Values size: ", count, " but output shape: ", Shape(dims.begin(), dims.end()));
          std::move(from, from + count, out);
          from += count;
        }
      }
    });
  }

  Context& c_;
  Spec spec_;
  const Tensor* names_;
  const int first_default_;
  const bool single_;
  const int64_t n_;
  ExampleReader reader_;
};

std::vector<String> keys_of(const Tensor& t) {
  const auto* first = t.data<String>();
  return {first, first + t.num_elements()};
}

// The inputs must be as many as the node's attrs say: graphs that come from elsewhere may say anything.
void check_dense(const Context& c, const Spec& spec, size_t keys, const std::vector<DType>& types, int first_default) {
  check(spec.dense.size() == keys && types.size() == keys && c.num_inputs() == first_default + static_cast<int>(keys), "[",
        c.node().op, "] there must be one type, shape and default for each of the ", keys, " dense keys: got ", types.size(), ", ",
        spec.dense.size(), " and ", c.num_inputs() - first_default);
}

Kernel parse_v2(const Node& node) {
  return [dense = dense_shapes(node), sparse_types = node.list<DType>("sparse_types"), dense_types = node.list<DType>("Tdense"),
          ragged_types = node.list<DType>("ragged_value_types"), split_types = node.list<DType>("ragged_split_types")](Context& c) {
    Spec spec;
    spec.dense = dense;
    spec.split_types = split_types;
    const auto sparse_keys = keys_of(c.input(2)), dense_keys = keys_of(c.input(3)), ragged_keys = keys_of(c.input(4));
    spec.add(sparse_keys, sparse_types, "sparse");
    spec.add(dense_keys, dense_types, "dense");
    spec.add(ragged_keys, ragged_types, "ragged");
    spec.num_sparse = sparse_keys.size();
    spec.num_ragged = ragged_keys.size();
    check(split_types.size() == ragged_keys.size(), "[", c.node().op, "] there must be one split type for each ragged key");
    check_dense(c, spec, dense_keys.size(), dense_types, 5);
    Parse(c, std::move(spec), c.input(0), &c.input(1), 5).fill();
  };
}

Kernel parse_v1(const Node& node) {
  const int64_t num_sparse = node.attr<int64_t>("Nsparse"), num_dense = node.attr<int64_t>("Ndense");
  check(num_sparse >= 0 && num_dense >= 0, "[", node.op, "] Nsparse and Ndense must be >= 0");
  return [num_sparse = static_cast<int>(num_sparse), num_dense = static_cast<int>(num_dense), dense = dense_shapes(node),
          sparse_types = node.list<DType>("sparse_types"), dense_types = node.list<DType>("Tdense")](Context& c) {
    Spec spec;
    spec.dense = dense;
    std::vector<String> keys;
    for (int i = 0; i < num_sparse + num_dense; ++i) keys.push_back(c.input(2 + i).scalar<String>());
    spec.add({keys.begin(), keys.begin() + num_sparse}, sparse_types, "sparse");
    spec.add({keys.begin() + num_sparse, keys.end()}, dense_types, "dense");
    spec.num_sparse = static_cast<size_t>(num_sparse);
    check_dense(c, spec, static_cast<size_t>(num_dense), dense_types, 2 + num_sparse + num_dense);
    check(c.input(0).rank() == 1, "[ParseExample] serialized must be a vector: got ", c.input(0).shape());
    Parse(c, std::move(spec), c.input(0), &c.input(1), 2 + num_sparse + num_dense).fill();
  };
}

Kernel parse_single(const Node& node) {
  Spec spec;
  const auto sparse_keys = node.list<String>("sparse_keys"), dense_keys = node.list<String>("dense_keys");
  const auto dense_types = node.list<DType>("Tdense");
  spec.dense = dense_shapes(node);
  spec.add(sparse_keys, node.list<DType>("sparse_types"), "sparse");
  spec.add(dense_keys, dense_types, "dense");
  spec.num_sparse = sparse_keys.size();
  return [spec, dense_types, keys = dense_keys.size()](Context& c) {
    check_dense(c, spec, keys, dense_types, 1);
    check(c.input(0).rank() == 0, "[ParseSingleExample] serialized must be a scalar: got ", c.input(0).shape());
    Parse(c, spec, c.input(0), nullptr, 1).fill();
  };
}

RF_KERNEL_ANY("ParseExample", None, parse_v1)
RF_KERNEL_ANY("ParseExampleV2", None, parse_v2)
RF_KERNEL_ANY("ParseSingleExample", None, parse_single)

}  // namespace
}  // namespace rf
