#include "kernels/tensor_array.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "kernels/index.h"

namespace rf {
namespace {

constexpr int64_t kMostElements = 1 << 24;  // a forged size must not take all memory

// Rows [first, first + n) of `value`, without their dimension where `drop`. In its memory where that is counted and the
// rows are aligned, else in their own.
Tensor rows_of(const Tensor& value, int64_t first, int64_t n, bool drop) {
  Shape shape;
  if (!drop) shape.add(n);
  for (int i = 1; i < value.rank(); ++i) shape.add(value.dim(i));
  const int64_t row = value.shape().product(1, value.rank());
  if (value.buffer() && value.dtype() != DType::String && static_cast<size_t>(row) * size_of(value.dtype()) % kAlignment == 0)
    return value.part(first * row, shape);
  Tensor rows(value.dtype(), shape);
  if (value.dtype() == DType::String)
    std::copy_n(value.data<std::string>() + first * row, n * row, rows.data<std::string>());
  else if (rows.bytes() != 0)
    std::memcpy(rows.raw(), static_cast<const char*>(value.raw()) + static_cast<size_t>(first * row) * size_of(value.dtype()),
                rows.bytes());
  return rows;
}

Tensor zeros(DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  if (dtype != DType::String && t.bytes() != 0) std::memset(t.raw(), 0, t.bytes());
  return t;
}

}  // namespace

TensorArray::TensorArray(Options options, int64_t size)
    : name_(std::move(options.name)), dtype_(options.dtype), clear_after_read_(options.clear_after_read),
      identical_(options.identical_shapes), is_gradient_(options.is_gradient),
      element_shape_(std::move(options.element_shape)), dynamic_size_(options.dynamic_size) {
  check(size >= 0 && size <= kMostElements, "[TensorArrayV3] 'size' must lie in [0, ", kMostElements, "]: got ", size);
  elements_.resize(static_cast<size_t>(size));
}

template <class... Args>
void TensorArray::require(bool ok, const char* where, const Args&... what) const {
  check(ok, "[", where, "] tensor array '", name_, "' ", what...);
}

void TensorArray::check_open(const char* where) const { require(!closed_, where, "has already been closed"); }

void TensorArray::check_dtype(const char* where, DType dtype) const {
  require(dtype == dtype_, where, "holds ", name_of(dtype_), ": got ", name_of(dtype));
}

std::shared_ptr<TensorArray> TensorArray::gradient(const std::string& source) {
  const char* where = "TensorArrayGradV3";
  std::lock_guard<std::mutex> lock(mutex_);
  check_open(where);
  std::shared_ptr<TensorArray>& made = gradients_[source];
  if (made) return made;
  require(!aggregated_, where, "has no gradient, because values were added up at an index");
  Options options;
  options.name = name_ + "@" + source;
  options.dtype = dtype_;
  options.element_shape = element_shape_;
  options.identical_shapes = identical_;
  options.is_gradient = true;
  made = std::make_shared<TensorArray>(std::move(options), static_cast<int64_t>(elements_.size()));
  for (size_t i = 0; i < elements_.size(); ++i) {
    made->elements_[i].shape = elements_[i].shape;
    made->elements_[i].written = elements_[i].written;
  }
  dynamic_size_ = false;
  return made;
}

// ---- writing
void TensorArray::write(const char* where, int64_t index, Tensor value) {
  std::lock_guard<std::mutex> lock(mutex_);
  locked_write(where, index, std::move(value));
}

void TensorArray::scatter(const char* where, const std::vector<int64_t>& indices, const Tensor& value) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (size_t i = 0; i < indices.size(); ++i)
    locked_write(where, indices[i], rows_of(value, static_cast<int64_t>(i), 1, true));
}

void TensorArray::split(const char* where, const std::vector<int64_t>& lengths, const Tensor& value) {
  std::lock_guard<std::mutex> lock(mutex_);
  check_open(where);
  require(lengths.size() == elements_.size() || dynamic_size_, where, "is not resizeable and its size is ",
          elements_.size(), ": got ", lengths.size(), " elements");
  int64_t first = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    locked_write(where, static_cast<int64_t>(i), rows_of(value, first, lengths[i], false));
    first += lengths[i];
  }
}

void TensorArray::locked_write(const char* where, int64_t index, Tensor value) {
  check_open(where);
  require(index >= 0 && (dynamic_size_ || index < static_cast<int64_t>(elements_.size())), where,
          "cannot be written at index ", index, ": it is not resizeable and its size is ", elements_.size());
  require(index < kMostElements, where, "cannot be written at index ", index, ": it has at most ", kMostElements,
          " elements");
  const size_t i = static_cast<size_t>(index);
  if (i >= elements_.size()) elements_.resize(i + 1);
  require(fits(element_shape_, value.shape()), where, "has elements of shape ", text_of(element_shape_),
          ": the value for index ", index, " has shape ", value.shape());
  if (identical_) element_shape_ = {false, {value.shape().begin(), value.shape().end()}};
  Element& e = elements_[i];
  require(!e.read, where, "cannot be written at index ", index, ": it has already been read");
  require(!e.written || is_gradient_, where, "cannot be written at index ", index, ": it has already been written to");
  require(!e.written || e.shape == value.shape(), where, "cannot add at index ", index, ": there is a value of shape ",
          e.shape, ", the new one has shape ", value.shape());
  e.shape = value.shape();
  e.written = true;
  if (e.value.initialized())
    add(where, index, value);
  else
    e.value = std::move(value);
}

void TensorArray::add(const char* where, int64_t index, const Tensor& value) {
  aggregated_ = true;
  Tensor& sum = elements_[static_cast<size_t>(index)].value;
  if (!sum.buffer() || !sum.buffer()->unique()) sum = copy_of(sum);  // as written: others may still read it
  const auto add_as = [&](auto zero) {
    using T = decltype(zero);
    add_row(sum.data<T>(), value.data<T>(), value.num_elements());
  };
  switch (dtype_) {
    case DType::Float: return add_as(float());
    case DType::Double: return add_as(double());
    case DType::Int32: return add_as(int32_t());
    case DType::Int64: return add_as(int64_t());
    default: require(false, where, "cannot add at index ", index, ": its dtype is ", name_of(dtype_));
  }
}

// ---- reading
Tensor TensorArray::read(const char* where, int64_t index) {
  std::lock_guard<std::mutex> lock(mutex_);
  return locked_read(where, index);
}

std::vector<Tensor> TensorArray::read(const char* where, const std::vector<int64_t>& indices) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Tensor> values;
  values.reserve(indices.size());
  for (int64_t i : indices) values.push_back(locked_read(where, i));
  return values;
}

std::vector<Tensor> TensorArray::read_all(const char* where) {
  std::vector<int64_t> all(static_cast<size_t>(size(where)));
  std::iota(all.begin(), all.end(), 0);
  return read(where, all);
}

Tensor TensorArray::locked_read(const char* where, int64_t index) {
  check_open(where);
  require(index >= 0 && index < static_cast<int64_t>(elements_.size()), where, "cannot be read at index ", index,
          ": its size is ", elements_.size());
  Element& e = elements_[static_cast<size_t>(index)];
  require(!e.cleared, where, "cannot be read twice at index ", index,
          ": it was cleared after a previous read. Fix: pass clear_after_read=False");
  if (!e.written) {
    require(element_shape_.fully_known(), where, "cannot be read at index ", index,
            ": it was never written to, and the shape of its elements is not known: ", text_of(element_shape_));
    e.shape = element_shape_.shape();
    e.written = true;
  }
  if (!e.value.initialized()) e.value = zeros(dtype_, e.shape);
  e.read = true;
  if (!clear_after_read_) return e.value;
  e.cleared = true;
  return std::exchange(e.value, Tensor());
}

// ---- the array itself
PartialShape TensorArray::row_shape(const char* where, const PartialShape& given) {
  std::lock_guard<std::mutex> lock(mutex_);
  check_open(where);
  if (given.unknown_rank) return element_shape_;
  if (element_shape_.unknown_rank) return given;
  PartialShape row = element_shape_;
  bool same = row.dims.size() == given.dims.size();
  for (size_t i = 0; same && i < row.dims.size(); ++i) {
    same = row.dims[i] < 0 || given.dims[i] < 0 || row.dims[i] == given.dims[i];
    row.dims[i] = std::max(row.dims[i], given.dims[i]);
  }
  require(same, where, "has elements of shape ", text_of(element_shape_), ": 'element_shape' is ", text_of(given));
  return row;
}

int64_t TensorArray::size(const char* where) {
  std::lock_guard<std::mutex> lock(mutex_);
  check_open(where);
  return static_cast<int64_t>(elements_.size());
}

void TensorArray::close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  elements_.clear();
}

}  // namespace rf
