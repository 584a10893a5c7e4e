// A fully known tensor shape. At most 8 dimensions, held in place: copying one allocates nothing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.h"

namespace rf {

class Shape {
 public:
  static constexpr int kMaxRank = 8;
  static constexpr int64_t kMaxElements = int64_t{1} << 58;

  Shape() = default;  // a scalar
  Shape(std::initializer_list<int64_t> dims) {
    for (int64_t d : dims) add(d);
  }
  template <class It>
  Shape(It first, It last) {
    for (; first != last; ++first) add(static_cast<int64_t>(*first));
  }

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[axis]; }
  void set(int axis, int64_t size) { dims_[axis] = size; }
  const int64_t* begin() const { return dims_; }
  const int64_t* end() const { return dims_ + rank_; }

  // Appends a dimension; a negative size or a ninth dimension is InvalidArgument.
  void add(int64_t size) {
    check(rank_ < kMaxRank, "a tensor has at most ", kMaxRank, " dimensions");
    check(size >= 0, "a dimension must be >= 0, got ", size);
    dims_[rank_++] = size;
  }

  // InvalidArgument where the elements could not be addressed, with dimensions of size 0 left out of account: no later
  // product of some of the dimensions overflows either.
  int64_t num_elements() const { return product(0, rank_); }
  // Product of the dimensions [from, to).
  int64_t product(int from, int to) const {
    int64_t n = 1;
    bool empty = false;
    for (int i = from; i < to; ++i) {
      empty |= dims_[i] == 0;
      if (dims_[i] > 1 && (__builtin_mul_overflow(n, dims_[i], &n) || n > kMaxElements)) too_large();
    }
    return empty ? 0 : n;
  }

  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (dims_[i] != other.dims_[i]) return false;
    return true;
  }
  bool operator!=(const Shape& other) const { return !(*this == other); }

  // "(32, 784)", "(3,)", "()"
  std::string str() const {
    std::string s = "(";
    for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string(dims_[i]);
    return s + (rank_ == 1 ? ",)" : ")");
  }

 private:
  [[noreturn]] void too_large() const { fail(Code::InvalidArgument, "a tensor of shape ", str(), " is too large"); }

  int rank_ = 0;
  int64_t dims_[kMaxRank] = {};
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

}  // namespace rf
