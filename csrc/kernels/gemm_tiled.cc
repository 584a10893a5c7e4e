#include "kernels/gemm_tiled.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/tensor.h"

namespace rf {
namespace {

// Block of k: a panel of b stays in the nearest cache. Block of m: that of a stays in the second one.
constexpr int64_t kBlockK = 256, kBlockRows = 24;
// Elements of b that are packed at a time.
constexpr int64_t kPackedB = 1 << 20;
// b is read in place, not packed, by so few tiles of rows.
constexpr int64_t kFewTiles = 5;
// Rows whose stride is a multiple of this many bytes fall into one set of the nearest cache.
constexpr int64_t kAliasBytes = 1024;

// Grows, belongs to the thread, never shrinks.
template <class T>
T* packing_buffer(int which, int64_t elements) {
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<void, Free> memory[2];
  thread_local size_t size[2] = {0, 0};
  const size_t bytes = round_up(static_cast<size_t>(elements) * sizeof(T));
  if (size[which] < bytes) {
    memory[which].reset();
    size[which] = 0;
    memory[which].reset(std::aligned_alloc(kAlignment, bytes));
    if (!memory[which]) fail(Code::Internal, "[gemm] out of memory: cannot allocate ", bytes, " bytes");
    size[which] = bytes;
  }
  return static_cast<T*>(memory[which].get());
}

// A tile's rows of a as they lie, closer together: in a large matrix rows fall into the same sets of the cache.
template <class T>
void pack_rows(int64_t rows, int64_t k, const T* a, int64_t row, T* out, int64_t out_row) {
  for (int64_t i = 0; i < rows; ++i) std::memcpy(out + i * out_row, a + i * row, static_cast<size_t>(k) * sizeof(T));
}

// The same of a whose columns are contiguous: k by k, what one step reads is contiguous.
template <class T>
void pack_columns(int64_t rows, int64_t k, const T* a, int64_t step, T* out) {
  constexpr int64_t whole = 4;  // copies of a fixed size need no call
  for (int64_t p = 0; p < k; ++p, a += step, out += rows) {
    int64_t i = 0;
    for (; i + whole <= rows; i += whole) std::memcpy(out + i, a + i, whole * sizeof(T));
    for (; i < rows; ++i) out[i] = a[i];
  }
}

// A part of a matrix that is needed soon: `rows` rows of whole cache lines. Each tile fetches one line of each of some
// rows.
template <class T>
class Ahead {
 public:
  static constexpr int64_t kLine = 64 / sizeof(T);

  Ahead() = default;
  Ahead(const T* from, int64_t row, int64_t rows, int64_t columns)
      : from_(from), row_(row), rows_(rows), lines_((columns + kLine - 1) / kLine) {}

  // False where nothing is left.
  bool take(Tile<T>& tile) {
    if (first_ >= rows_) return false;
    tile.ahead = from_ + first_ * row_ + line_ * kLine;
    tile.ahead_step = row_;
    tile.ahead_count = rows_ - first_;
    if (++line_ == lines_) {
      line_ = 0;
      first_ += tile.length;
    }
    return true;
  }

 private:
  const T* from_ = nullptr;
  int64_t row_ = 0, rows_ = 0, lines_ = 0, first_ = 0, line_ = 0;
};

// One product, block by block: columns of c, then rows, then k, so that a block of c stays in the second cache until it
// is done.
template <class T>
class Blocked {
 public:
  Blocked(const TileSet<T>& set, const Product<T>& product)
      : set_(set), x_(product), height_(set.max_rows[2]), pack_a_(packs_a(set, product)),
        pack_b_(product.b_column != 1 || product.m > kFewTiles * height_), block_m_(even_part(x_.m, kBlockRows * height_)),
        block_k_(even_part(x_.k, kBlockK)), keep_b_(pack_b_ && block_m_ < x_.m) {
    // kept for the next rows: all of k, for as many columns as memory is well spent on, at least two panels
    block_n_ = keep_b_ ? std::min(x_.n, std::max(kPackedB / (x_.k * set.width()), int64_t{2}) * set.width()) : x_.n;
    packed_b_ = packing_buffer<T>(0, keep_b_ ? x_.k * set.padded(block_n_) : block_k_ * set.width());
    if (pack_a_) packed_a_ = packing_buffer<T>(1, (block_k_ + Ahead<T>::kLine) * block_m_);
    tile_.a_offsets = &kZero;
    tile_.segments = 1;
    tile_.c_row = x_.ldc;
  }

  void run() {
    for (n0_ = 0; n0_ < x_.n; n0_ += block_n_)
      for (m0_ = 0; m0_ < x_.m; m0_ += block_m_)
        for (p0_ = 0; p0_ < x_.k; p0_ += block_k_) block();
  }

 private:
  static constexpr int64_t kZero = 0;

  void block() {
    tile_.length = std::min(block_k_, x_.k - p0_);
    tile_.add = x_.add || p0_ > 0;
    const int64_t columns = std::min(block_n_, x_.n - n0_), rows = std::min(block_m_, x_.m - m0_);
    const T* a = x_.a + m0_ * x_.a_row + p0_ * x_.a_step;
    const int64_t packed_row = tile_.length + Ahead<T>::kLine;
    if (pack_a_ && x_.a_row != 1)
      pack_rows(rows, tile_.length, a, x_.a_row, packed_a_, packed_row);
    else if (pack_a_)
      for (int64_t i = 0, height; i < rows; i += height) {
        height = even_part(rows - i, height_);
        pack_columns(height, tile_.length, a + i, x_.a_step, packed_a_ + i * packed_row);
      }
    next_a_ = block_of_a_after(rows);
    for (int64_t j0 = 0, next; j0 < columns; j0 = next) {
      T* c = x_.c + m0_ * x_.ldc + n0_ + j0;
      tile_.columns = std::min<int64_t>(set_.width(), columns - j0);
      next = j0 + tile_.columns;
      panel_of_b(j0);
      Ahead<T> next_b = panel_of_b_after(next, columns), next_c;
      if (next < columns) next_c = Ahead<T>(c + tile_.columns, x_.ldc, rows, std::min<int64_t>(set_.width(), columns - next));
      for (int64_t i = 0, height; i < rows; i += height) {
        height = even_part(rows - i, height_);
        tile_.a = pack_a_ ? packed_a_ + i * packed_row : a + i * x_.a_row;
        tile_.a_row = !pack_a_ ? x_.a_row : x_.a_row == 1 ? 1 : packed_row;
        tile_.a_step = !pack_a_ ? x_.a_step : x_.a_row == 1 ? height : 1;
        tile_.c = c + i * x_.ldc;
        if (!next_b.take(tile_) && !next_c.take(tile_) && !next_a_.take(tile_)) tile_.ahead = nullptr;
        set_.run[set_.vectors(tile_.columns)][height](tile_);
      }
    }
  }

  // Not where few panels read it, unless its columns fall into one set of the cache.
  static bool packs_a(const TileSet<T>& set, const Product<T>& x) {
    if (x.a_row != 1) return x.n > 4 * set.width();
    return x.n > 2 * set.width() || x.a_step * int64_t{sizeof(T)} % kAliasBytes == 0;
  }

  // The first of the fewest parts of at most `most` that differ by at most one.
  static int64_t even_part(int64_t whole, int64_t most) {
    const int64_t parts = (whole + most - 1) / most;
    return parts ? (whole + parts - 1) / parts : 0;
  }

  // The panel of b from column j0 of the block, in place or packed, once for all blocks of rows.
  void panel_of_b(int64_t j0) {
    const T* b = x_.b + p0_ * x_.b_row + (n0_ + j0) * x_.b_column;
    if (!pack_b_ && tile_.columns % set_.lanes == 0) {
      tile_.b = b;
      tile_.b_step = x_.b_row;
      return;
    }
    T* packed = packed_panel(p0_, j0);
    if (m0_ == 0 || !keep_b_) pack_panel(set_, tile_.length, tile_.columns, b, x_.b_row, x_.b_column, packed);
    tile_.b = packed;
    tile_.b_step = set_.padded(tile_.columns);
  }

  T* packed_panel(int64_t p0, int64_t j0) const {
    if (!keep_b_) return packed_b_;
    const int64_t length = std::min(block_k_, x_.k - p0);
    return packed_b_ + p0 * set_.padded(std::min(block_n_, x_.n - n0_)) + length * j0;
  }

  // The panel of b that is read next, from column j0 of the block unless that is its end.
  Ahead<T> panel_of_b_after(int64_t j0, int64_t columns) const {
    int64_t p0 = p0_;
    if (j0 >= columns) {
      j0 = 0;
      p0 += block_k_;
      if (p0 >= x_.k) return {};
    }
    const int64_t steps = std::min(block_k_, x_.k - p0), width = std::min<int64_t>(set_.width(), columns - j0);
    if (keep_b_ && m0_ > 0) return {packed_panel(p0, j0), Ahead<T>::kLine, steps * width / Ahead<T>::kLine, 1};
    const T* b = x_.b + p0 * x_.b_row + (n0_ + j0) * x_.b_column;
    return x_.b_column == 1 ? Ahead<T>(b, x_.b_row, steps, width) : Ahead<T>(b, x_.b_column, width, steps);
  }

  // The block of a that is read after this one, of `rows` rows.
  Ahead<T> block_of_a_after(int64_t rows) const {
    int64_t p0 = p0_ + block_k_, m0 = m0_;
    if (p0 >= x_.k) {
      p0 = 0;
      m0 += rows;
      if (m0 >= x_.m) return {};
    }
    const int64_t steps = std::min(block_k_, x_.k - p0), next = std::min(block_m_, x_.m - m0);
    const T* from = x_.a + m0 * x_.a_row + p0 * x_.a_step;
    return x_.a_row == 1 ? Ahead<T>(from, x_.a_step, steps, next) : Ahead<T>(from, x_.a_row, next, steps);
  }

  const TileSet<T>& set_;
  const Product<T> x_;
  const int64_t height_;
  const bool pack_a_, pack_b_;
  const int64_t block_m_, block_k_;
  const bool keep_b_;
  int64_t block_n_ = 0;
  T *packed_a_ = nullptr, *packed_b_ = nullptr;
  int64_t n0_ = 0, m0_ = 0, p0_ = 0;  // the block under way
  Tile<T> tile_;
  Ahead<T> next_a_;
};

}  // namespace

// a in place. b as well where its columns are whole vectors and few rows use it.
template <class T>
void multiply_small(const TileSet<T>& set, const Product<T>& x) {
  static constexpr int64_t zero = 0;
  const bool in_place = x.b_column == 1 && x.n % set.lanes == 0 &&
                        (x.m <= kFewTiles * set.max_rows[2] || x.n <= set.width());
  const T* b = x.b;
  if (!in_place) {
    T* packed = packing_buffer<T>(0, x.k * set.padded(x.n));
    pack_panels(set, x.k, x.n, x.b, x.b_row, x.b_column, packed);
    b = packed;
  }
  // read no more rows of one set of the cache than it has ways
  const bool aliases = x.a_row != 1 && x.a_row * int64_t{sizeof(T)} % kAliasBytes == 0;
  const int height = aliases ? 8 : kMaxTileRows;
  Tile<T> t;
  t.a_row = x.a_row;
  t.a_step = x.a_step;
  t.a_offsets = &zero;
  t.segments = 1;
  t.length = x.k;
  t.c_row = x.ldc;
  t.add = x.add;
  for (int64_t j0 = 0; j0 < x.n; j0 += set.width()) {
    t.a = x.a;
    t.columns = std::min<int64_t>(x.n - j0, set.width());
    t.b = in_place ? b + j0 : b + x.k * j0;
    t.b_step = in_place ? x.b_row : set.padded(t.columns);
    t.c = x.c + j0;
    run_rows(set, x.m, t, height);
  }
}

template <class T>
void multiply_blocked(const TileSet<T>& set, const Product<T>& product) {
  Blocked<T>(set, product).run();
}

#define RF_PRODUCTS_OF(T)                                             \
  template void multiply_small(const TileSet<T>&, const Product<T>&); \
  template void multiply_blocked(const TileSet<T>&, const Product<T>&);
RF_PRODUCTS_OF(float)
RF_PRODUCTS_OF(double)

}  // namespace rf
