// The kernels of tensor arrays. The flow, a scalar that orders them, passes through unchanged.
#include <cstring>
#include <numeric>

#include "kernels/axes.h"
#include "kernels/tensor_array.h"

namespace rf {
namespace {

void pass_flow(Context& c, int input, int output) { *c.output(output, Shape()).data<float>() = c.input(input).scalar<float>(); }

Kernel make_array(const Node& node) {
  TensorArray::Options options;
  const std::string given = node.attr<std::string>("tensor_array_name", "");
  options.name = given.empty() ? node.name : given;
  options.dtype = node.attr<DType>("dtype");
  options.element_shape.unknown_rank = true;
  options.element_shape = node.attr<PartialShape>("element_shape", options.element_shape);
  options.dynamic_size = node.attr<bool>("dynamic_size", false);
  options.clear_after_read = node.attr<bool>("clear_after_read", true);
  options.identical_shapes = node.attr<bool>("identical_element_shapes", false);
  return [options](Context& c) {
    c.set_resource_output(0, std::make_shared<TensorArray>(options, int_scalar(c, 0)));
    *c.output(1, Shape()).data<float>() = 0;
  };
}

Kernel gradient(const Node& node) {
  return [source = node.attr<std::string>("source")](Context& c) {
    c.set_resource_output(0, c.resource<TensorArray>(0)->gradient(source));
    pass_flow(c, 1, 1);
  };
}

// The array behind input 0, which must hold `dtype`.
std::shared_ptr<TensorArray> array_of(Context& c, DType dtype) {
  std::shared_ptr<TensorArray> array = c.resource<TensorArray>(0);
  array->check_dtype(c.node().op.c_str(), dtype);
  return array;
}

Kernel write(const Node&) {
  return [](Context& c) {
    array_of(c, c.input(2).dtype())->write("TensorArrayWriteV3", int_scalar(c, 1), c.hold(2));
    pass_flow(c, 3, 0);
  };
}

Kernel read(const Node&) {
  return [](Context& c) {
    c.set_output(0, array_of(c, c.output_dtype(0))->read("TensorArrayReadV3", int_scalar(c, 1)));
  };
}

void check_vector(const Context& c, int input) {
  check(c.input(input).rank() == 1, "[", c.node().op, "] input ", input, " must be a vector: got shape ",
        c.input(input).shape());
}

// Copies `parts`, one after another, into `to`.
void join(const std::vector<Tensor>& parts, Tensor& to) {
  if (to.dtype() == DType::String) {
    std::string* out = to.data<std::string>();
    for (const Tensor& t : parts) out = std::copy_n(t.data<std::string>(), t.num_elements(), out);
    return;
  }
  char* out = static_cast<char*>(to.raw());
  for (const Tensor& t : parts) {
    if (t.bytes() != 0) std::memcpy(out, t.raw(), t.bytes());
    out += t.bytes();
  }
}

void check_known(const Context& c, const PartialShape& row) {
  if (!row.fully_known())
    fail(Code::Unimplemented, "[", c.node().op, "] the shape of no elements at all must be known: it is ", text_of(row));
}

Kernel gather(const Node& node) {
  PartialShape unknown;
  unknown.unknown_rank = true;
  return [given = node.attr<PartialShape>("element_shape", unknown)](Context& c) {
    const char* where = "TensorArrayGatherV3";
    const auto array = array_of(c, c.output_dtype(0));
    check_vector(c, 1);
    const PartialShape row = array->row_shape(where, given);
    const std::vector<Tensor> rows = array->read(where, int_values(c.input(1)));
    if (rows.empty()) check_known(c, row);
    const Shape element = rows.empty() ? row.shape() : rows[0].shape();
    for (const Tensor& t : rows)
      check(t.shape() == element && fits(row, t.shape()), "[", where, "] all elements must have one shape: got ",
            element, " and ", t.shape(), ", 'element_shape' is ", text_of(row));
    Shape shape{static_cast<int64_t>(rows.size())};
    for (int64_t d : element) shape.add(d);
    join(rows, c.output(0, shape));
  };
}

Kernel scatter(const Node&) {
  return [](Context& c) {
    const Tensor& indices = c.input(1);
    const Tensor value = c.hold(2);
    const auto array = array_of(c, value.dtype());
    check_vector(c, 1);
    check(value.rank() >= 1 && value.dim(0) == indices.dim(0), "[TensorArrayScatterV3] each row of 'value' ",
          value.shape(), " needs one of 'indices' ", indices.shape());
    array->scatter("TensorArrayScatterV3", int_values(indices), value);
    pass_flow(c, 3, 0);
  };
}

Kernel concat(const Node& node) {
  PartialShape unknown;
  unknown.unknown_rank = true;
  return [row = node.attr<PartialShape>("element_shape_except0", unknown)](Context& c) {
    const char* where = "TensorArrayConcatV3";
    const std::vector<Tensor> parts = array_of(c, c.output_dtype(0))->read_all(where);
    if (parts.empty()) check_known(c, row);
    Shape shape{0};
    for (int64_t d : parts.empty() ? row.dims : std::vector<int64_t>()) shape.add(d);
    int64_t* lengths = c.output(1, Shape{static_cast<int64_t>(parts.size())}).data<int64_t>();
    int64_t total = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const Shape& s = parts[i].shape();
      check(s.rank() > 0, "[", where, "] element ", i, " is a scalar: there is nothing to join it along");
      const Shape tail(s.begin() + 1, s.end());
      const bool same = Shape(parts[0].shape().begin() + 1, parts[0].shape().end()) == tail;
      check(same && fits(row, tail), "[", where, "] element ", i, " has shape ", s, ", element 0 ", parts[0].shape(),
            ", 'element_shape_except0' is ", text_of(row));
      lengths[i] = s[0];
      total += s[0];
    }
    if (!parts.empty()) shape = parts[0].shape();
    shape.set(0, total);
    join(parts, c.output(0, shape));
  };
}

Kernel split(const Node&) {
  return [](Context& c) {
    const Tensor value = c.hold(1);
    const auto array = array_of(c, value.dtype());
    check_vector(c, 2);
    const std::vector<int64_t> lengths = int_values(c.input(2));
    check(value.rank() >= 1, "[TensorArraySplitV3] 'value' must have rows: it is a scalar");
    int64_t left = value.dim(0);
    for (int64_t n : lengths) {
      check(n >= 0 && n <= left, "[TensorArraySplitV3] 'lengths' must add up to the rows of 'value' ", value.shape());
      left -= n;
    }
    check(left == 0, "[TensorArraySplitV3] 'lengths' must add up to the rows of 'value' ", value.shape(), ": ", left,
          " are left over");
    array->split("TensorArraySplitV3", lengths, value);
    pass_flow(c, 3, 0);
  };
}

Kernel size(const Node&) {
  return [](Context& c) {
    *c.output(0, Shape()).data<int32_t>() =
        static_cast<int32_t>(c.resource<TensorArray>(0)->size("TensorArraySizeV3"));
  };
}

Kernel close(const Node&) {
  return [](Context& c) { c.resource<TensorArray>(0)->close(); };
}

RF_KERNEL_ANY("TensorArrayV3", None, make_array)
RF_KERNEL_ANY("TensorArrayGradV3", None, gradient)
RF_KERNEL_ANY("TensorArrayWriteV3", None, write)
RF_KERNEL_ANY("TensorArrayReadV3", None, read)
RF_KERNEL_ANY("TensorArrayGatherV3", None, gather)
RF_KERNEL_ANY("TensorArrayScatterV3", None, scatter)
RF_KERNEL_ANY("TensorArrayConcatV3", None, concat)
RF_KERNEL_ANY("TensorArraySplitV3", None, split)
RF_KERNEL_ANY("TensorArraySizeV3", None, size)
RF_KERNEL_ANY("TensorArrayCloseV3", None, close)

}  // namespace
}  // namespace rf
