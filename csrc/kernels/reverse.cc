// ReverseV2, ReverseSequence: elements in the opposite order along some dimensions.
//
// Both walk blocks of memory that stay as they are: the dimensions behind the last one that is turned round.
#include <algorithm>
#include <cstring>

#include "kernels/axes.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

template <class Copy>
void copy_as(const Tensor& from, Tensor& to, const Copy& copy) {
  switch (size_of(from.dtype())) {
    case 0: return copy(from.data<std::string>(), to.data<std::string>());
    case 1: return copy(static_cast<const uint8_t*>(from.raw()), static_cast<uint8_t*>(to.raw()));
    case 2: return copy(static_cast<const uint16_t*>(from.raw()), static_cast<uint16_t*>(to.raw()));
    case 4: return copy(static_cast<const uint32_t*>(from.raw()), static_cast<uint32_t*>(to.raw()));
    default: return copy(static_cast<const uint64_t*>(from.raw()), static_cast<uint64_t*>(to.raw()));
  }
}

// Blocks of `block` elements of the dimensions [axis, end), those marked in `turned` from their end.
template <class T>
T* reverse(const T* from, T* to, const Shape& shape, const bool* turned, int axis, int end, int64_t block) {
  if (axis == end) return std::copy_n(from, block, to);
  const int64_t n = shape[axis], step = shape.product(axis + 1, end) * block;
  for (int64_t i = 0; i < n; ++i)
    to = reverse(from + (turned[axis] ? n - 1 - i : i) * step, to, shape, turned, axis + 1, end, block);
  return to;
}

Kernel reverse_v2(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    check(c.input(1).rank() == 1, "[ReverseV2] 'axis' must be a vector: got shape ", c.input(1).shape());
    check(x.dtype() == c.output_dtype(0), "[ReverseV2] the output must be ", name_of(x.dtype()));
    bool turned[Shape::kMaxRank] = {};
    int end = 0;
    for (int64_t a : int_values(c.input(1))) {
      const int axis = axis_of(c, a, x.rank());
      check(!turned[axis], "[ReverseV2] axis ", axis, " comes twice in 'axis'");
      turned[axis] = true;
      end = std::max(end, axis + 1);
    }
    Tensor& y = c.output(0, x.shape());
    if (x.num_elements() == 0) return;
    const int64_t block = x.shape().product(end, x.rank());
    int axes = 0;
    for (bool t : turned) axes += t;
    copy_as(x, y, [&](const auto* from, auto* to) {
      if (block == 1 && axes == 1) {  // along the last dimension alone
        const int64_t n = x.dim(end - 1), rows = x.num_elements() / n;
        for (int64_t r = 0; r < rows; ++r, from += n) to = std::reverse_copy(from, from + n, to);
      } else {
        reverse(from, to, x.shape(), turned, 0, end, block);
      }
    });
  };
}

Kernel reverse_sequence(const Node& node) {
  const int64_t batch = node.attr<int64_t>("batch_dim", 0), seq = node.attr<int64_t>("seq_dim");
  return [batch, seq](Context& c) {
    const Tensor& x = c.input(0);
    const int rank = x.rank();
    check(batch >= 0 && batch < rank && seq >= 0 && seq < rank && batch != seq, "[ReverseSequence] 'batch_dim' ", batch,
          " and 'seq_dim' ", seq, " must be different dimensions of an input of rank ", rank);
    check(x.dtype() == c.output_dtype(0), "[ReverseSequence] the output must be ", name_of(x.dtype()));
    const int b = static_cast<int>(batch), s = static_cast<int>(seq), first = std::min(b, s), second = std::max(b, s);
    const std::vector<int64_t> lengths = int_values(c.input(1));
    check(c.input(1).shape() == Shape{x.dim(b)}, "[ReverseSequence] 'seq_lengths' must be of shape (", x.dim(b),
          ",): it has shape ", c.input(1).shape());
    for (size_t i = 0; i < lengths.size(); ++i)
      check(lengths[i] >= 0 && lengths[i] <= x.dim(s), "[ReverseSequence] seq_lengths[", i, "] = ", lengths[i],
            " is not in [0, ", x.dim(s), "]");
    Tensor& y = c.output(0, x.shape());
    const int64_t block = x.shape().product(second + 1, rank), middle = x.shape().product(first + 1, second);
    const int64_t n0 = x.dim(first), n1 = x.dim(second), outer = x.shape().product(0, first);
    copy_as(x, y, [&](const auto* from, auto* to) {
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < n0; ++i)
          for (int64_t m = 0; m < middle; ++m)
            for (int64_t j = 0; j < n1; ++j) {
              const int64_t row = b < s ? i : j, at = b < s ? j : i;
              const int64_t length = lengths[static_cast<size_t>(row)];
              const int64_t source = at < length ? length - 1 - at : at;
              const int64_t p = b < s ? i : source, q = b < s ? source : j;
              to = std::copy_n(from + (((o * n0 + p) * middle + m) * n1 + q) * block, block, to);
            }
    });
  };
}

RF_KERNEL_ANY("ReverseV2", None, reverse_v2)
RF_KERNEL_ANY("ReverseSequence", None, reverse_sequence)

}  // namespace
}  // namespace rf
