// A tensor: dtype, shape and a pointer into memory that it may share with others.
//
// Copying a Tensor copies the handle, never the elements. Elements are dense and row-major. Whoever
// writes through data() must know that nobody else reads: the memory planner and the executor see to it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/shape.h"

namespace rf {

constexpr size_t kAlignment = 64;

inline size_t round_up(size_t bytes, size_t to = kAlignment) { return (bytes + to - 1) / to * to; }

// A reference-counted block of memory, 64-byte aligned when allocated here.
class Buffer {
 public:
  static Buffer* allocate(size_t bytes);
  // `n` empty strings, destroyed with the last reference.
  static Buffer* allocate_strings(size_t n);
  // Wraps foreign memory; `release` runs when the last reference goes.
  static Buffer* wrap(void* data, size_t bytes, std::function<void()> release);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool unique() const { return references_.load(std::memory_order_acquire) == 1; }
  void ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  void unref() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  Buffer(void* data, size_t bytes, size_t capacity, std::function<void()> release)
      : data_(data), bytes_(bytes), capacity_(capacity), release_(std::move(release)) {}
  ~Buffer();

  std::atomic<int> references_{1};
  void* data_;
  size_t bytes_;
  size_t capacity_;  // of memory allocated here, else 0
  std::function<void()> release_;
};

class Tensor {
 public:
  Tensor() = default;  // uninitialised: dtype() == DType::Invalid

  // Owns fresh memory, not cleared; for dtype String empty std::strings.
  Tensor(DType dtype, const Shape& shape)
      : dtype_(dtype), shape_(shape),
        buffer_(dtype == DType::String ? Buffer::allocate_strings(static_cast<size_t>(num_elements()))
                                       : Buffer::allocate(bytes())),
        data_(buffer_->data()) {}
  // Borrows `data`, which must outlive the tensor.
  Tensor(DType dtype, const Shape& shape, void* data) : dtype_(dtype), shape_(shape), data_(data) {}
  // Takes over one reference to `buffer`.
  Tensor(DType dtype, const Shape& shape, Buffer* buffer)
      : dtype_(dtype), shape_(shape), buffer_(buffer), data_(buffer->data()) {}

  Tensor(const Tensor& other)
      : dtype_(other.dtype_), shape_(other.shape_), buffer_(other.buffer_), data_(other.data_) {
    if (buffer_) buffer_->ref();
  }
  Tensor(Tensor&& other) noexcept
      : dtype_(std::exchange(other.dtype_, DType::Invalid)), shape_(other.shape_),
        buffer_(std::exchange(other.buffer_, nullptr)), data_(other.data_) {}
  Tensor& operator=(Tensor other) noexcept {
    dtype_ = other.dtype_;
    shape_ = other.shape_;
    data_ = other.data_;
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~Tensor() {
    if (buffer_) buffer_->unref();
  }

  bool initialized() const { return dtype_ != DType::Invalid; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int axis) const { return shape_[axis]; }
  int64_t num_elements() const { return shape_.num_elements(); }
  size_t bytes() const { return static_cast<size_t>(num_elements()) * size_of(dtype_); }

  void* raw() { return data_; }
  const void* raw() const { return data_; }
  // InvalidArgument where the elements are of another type: graphs that come from elsewhere may say anything.
  template <class T>
  T* data() {
    if (__builtin_expect(!holds<T>(dtype_), 0)) wrong_type(DTypeOf<T>::value);
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* data() const {
    if (__builtin_expect(!holds<T>(dtype_), 0)) wrong_type(DTypeOf<T>::value);
    return static_cast<const T*>(data_);
  }
  template <class T>
  T scalar() const {
    check(num_elements() == 1, "expected a scalar, got shape ", shape_);
    return *data<T>();
  }

  // The same elements under another shape of equal size.
  Tensor reshaped(const Shape& shape) const {
    check(shape.num_elements() == num_elements(), "cannot reshape ", shape_, " to ", shape);
    Tensor t = *this;
    t.shape_ = shape;
    return t;
  }
  // The elements from `first` on, as many as `shape` has, in the same memory. Not of strings.
  Tensor part(int64_t first, const Shape& shape) const {
    check(first >= 0 && first + shape.num_elements() <= num_elements(), "a tensor of shape ", shape_, " has no part of shape ",
          shape, " at element ", first);
    Tensor t = *this;
    t.shape_ = shape;
    t.data_ = static_cast<char*>(data_) + static_cast<size_t>(first) * size_of(dtype_);
    return t;
  }
  Buffer* buffer() const { return buffer_; }  // null for borrowed memory

  // Lets go of the memory: uninitialised again.
  void reset() {
    if (buffer_) std::exchange(buffer_, nullptr)->unref();
    dtype_ = DType::Invalid;
    data_ = nullptr;
  }

  // Re-points a borrowed tensor without touching a reference count: the executor's hot path.
  void bind(DType dtype, const Shape& shape, void* data) {
    if (buffer_) {
      buffer_->unref();
      buffer_ = nullptr;
    }
    dtype_ = dtype;
    shape_ = shape;
    data_ = data;
  }

 private:
  // Booleans may be taken for bytes.
  template <class T>
  static bool holds(DType dtype) {
    return dtype == DTypeOf<T>::value || (DTypeOf<T>::value == DType::UInt8 && dtype == DType::Bool);
  }
  [[noreturn]] void wrong_type(DType wanted) const {
    fail(Code::InvalidArgument, "a ", name_of(wanted), " tensor is needed, got ", name_of(dtype_), " of shape ", shape_);
  }

  DType dtype_ = DType::Invalid;
  Shape shape_;
  Buffer* buffer_ = nullptr;
  void* data_ = nullptr;
};

// The same elements in memory of their own.
Tensor copy_of(const Tensor& tensor);

// Values of an int32 or int64 tensor as int64 (shapes, axes, paddings).
std::vector<int64_t> int_values(const Tensor& tensor);

}  // namespace rf
