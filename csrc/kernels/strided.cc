#include "kernels/strided.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace rf {
namespace {

constexpr int64_t kParallelBytes = 256 * 1024;  // from which on another thread pays

struct Bytes16 {
  uint64_t words[2];
};

template <class U>
U load(const char* p) {
  U u;
  __builtin_memcpy(&u, p, sizeof(U));
  return u;
}
template <class U>
void store(char* p, U u) {
  __builtin_memcpy(p, &u, sizeof(U));
}

template <class U>
void copy_row(const char* from, char* to, int64_t n, int64_t from_step, int64_t to_step) {
  constexpr int64_t w = sizeof(U);
  if (to_step == w && from_step == 0) {
    const U u = load<U>(from);
    for (int64_t i = 0; i < n; ++i) store(to + i * w, u);
  } else if (to_step == w) {
    for (int64_t i = 0; i < n; ++i) store(to + i * w, load<U>(from + i * from_step));
  } else {
    for (int64_t i = 0; i < n; ++i) store(to + i * to_step, load<U>(from + i * from_step));
  }
}

// A 4x4 block of 4-byte elements by eight shuffles; 16-byte vectors are native everywhere.
void transpose_4x4(const char* from, int64_t from_step, char* to, int64_t to_step) {
  typedef uint32_t V __attribute__((vector_size(16)));
  const V a = load<V>(from), b = load<V>(from + from_step), c = load<V>(from + 2 * from_step),
          d = load<V>(from + 3 * from_step);
  const V ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const V cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store(to, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
  store(to + to_step, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
  store(to + 2 * to_step, __builtin_shufflevector(AB, CD, 0, 1, 4, 5));
  store(to + 3 * to_step, __builtin_shufflevector(AB, CD, 2, 3, 6, 7));
}

// to[j][i] = from[i][j] for i < rows, j < columns; elements are dense along j in `from` and along i in `to`.
template <class U>
void transpose_2d(const char* from, int64_t from_step, char* to, int64_t to_step, int64_t rows, int64_t columns) {
  constexpr int64_t w = sizeof(U), kTile = 64 / w * 2;  // two cache lines each way
  for (int64_t j0 = 0; j0 < columns; j0 += kTile) {
    const int64_t j1 = std::min(columns, j0 + kTile);
    for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
      const int64_t i1 = std::min(rows, i0 + kTile);
      int64_t j = j0;
      if constexpr (w == 4) {
        for (; j + 4 <= j1; j += 4) {
          int64_t i = i0;
          for (; i + 4 <= i1; i += 4) transpose_4x4(from + i * from_step + j * w, from_step, to + j * to_step + i * w, to_step);
          for (; i < i1; ++i)
            for (int64_t k = j; k < j + 4; ++k) store(to + k * to_step + i * w, load<U>(from + i * from_step + k * w));
        }
      }
      for (; j < j1; ++j)
        for (int64_t i = i0; i < i1; ++i) store(to + j * to_step + i * w, load<U>(from + i * from_step + j * w));
    }
  }
}

// Calls f with an unsigned type of `width` bytes.
template <class F>
void visit_width(int64_t width, F&& f) {
  switch (width) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    case 16: return f(Bytes16{});
    default: fail(Code::Unimplemented, "[copy] elements of ", width, " bytes are not supported");
  }
}

}  // namespace

void StridedCopy::add(int64_t size, int64_t from_step, int64_t to_step) {
  if (size == 0) empty_ = true;
  if (size == 1) return;
  if (rank_ > 0) {
    Dim& last = dims_[rank_ - 1];
    if (last.from == from_step * size && last.to == to_step * size) {
      last = {last.size * size, from_step, to_step};
      return;
    }
  }
  dims_[rank_++] = {size, from_step, to_step};
}

void StridedCopy::run(const void* from, void* to) const {
  if (empty_) return;
  int64_t inner = width_;  // bytes below the outermost dimension
  for (int i = 1; i < rank_; ++i) inner *= dims_[i].size;
  parallel_for(rank_ ? dims_[0].size : 1, 1 + kParallelBytes / inner, [&](int64_t begin, int64_t end, int) {
    StridedCopy part = *this;
    if (rank_) part.dims_[0].size = end - begin;
    part.run_part(static_cast<const char*>(from) + (rank_ ? begin * dims_[0].from : 0),
                  static_cast<char*>(to) + (rank_ ? begin * dims_[0].to : 0));
  });
}

void StridedCopy::run_part(const char* from, char* to) const {
  Dim dims[kMaxRank + 2];
  int rank = 0;
  while (rank < 2 - rank_) dims[rank++] = {1, 0, 0};  // at least two dimensions
  std::copy(dims_, dims_ + rank_, dims + rank);
  rank += rank_;
  int64_t width = width_;
  if (rank_ == 0) dims[rank - 1] = {1, width, width};

  bool rows = dims[rank - 1].from == width && dims[rank - 1].to == width;
  if (rows) {
    // short dense rows become wider elements
    const int64_t bytes = dims[rank - 1].size * width;
    if (bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16) {
      width = bytes;
      for (int i = rank - 1; i > 0; --i) dims[i] = dims[i - 1];
      dims[0] = {1, 0, 0};
      rows = dims[rank - 1].from == width && dims[rank - 1].to == width;
    }
  }
  bool transpose = false;
  if (!rows && dims[rank - 1].to == width) {
    // bring the dimension that is dense in the source next to the one that is dense in the target
    for (int i = rank - 2; i >= 0; --i) {
      if (dims[i].from != width || dims[i].size < 4) continue;
      std::rotate(dims + i, dims + i + 1, dims + rank - 1);
      transpose = true;
      break;
    }
  }
  const Dim inner = dims[rank - 1], middle = dims[rank - 2];
  const int outer = rank - 2;
  int64_t index[kMaxRank + 2] = {};
  visit_width(width, [&](auto tag) {
    using U = decltype(tag);
    for (;;) {
      if (rows) {
        const size_t bytes = static_cast<size_t>(inner.size * width);
        for (int64_t i = 0; i < middle.size; ++i) std::memcpy(to + i * middle.to, from + i * middle.from, bytes);
      } else if (transpose) {
        transpose_2d<U>(from, inner.from, to, middle.to, inner.size, middle.size);
      } else {
        for (int64_t i = 0; i < middle.size; ++i)
          copy_row<U>(from + i * middle.from, to + i * middle.to, inner.size, inner.from, inner.to);
      }
      int axis = outer - 1;
      for (; axis >= 0; --axis) {
        from += dims[axis].from;
        to += dims[axis].to;
        if (++index[axis] < dims[axis].size) break;
        from -= dims[axis].from * dims[axis].size;
        to -= dims[axis].to * dims[axis].size;
        index[axis] = 0;
      }
      if (axis < 0) return;
    }
  });
}

}  // namespace rf
