// Register tiles: the one inner loop under matrix products and convolutions.
//
// A tile is a few rows x one or two vectors of columns, held in registers while it sums over k:
//
//     c[i, j] (+)= sum_s sum_{p < length} a[a_offsets[s] + i * a_row + p * a_step] * b[b_offsets[s] + p * b_step + j]
//
// k is cut into segments; their offsets let the rows of `a` be patches of an image, so a convolution needs no
// patch matrix. Without `b_offsets` the segments of b follow each other.
// `b` comes in panels: columns [j0, j0 + width) of every k, padded with zeros to whole vectors
// (`pack_panels`), or in place where its columns are whole vectors anyway.
// Compiled for baseline, AVX2 and AVX-512; one table of functions for each. Pure functions, thread-safe.
// Source: Goto, van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (2008).
#pragma once

#include <algorithm>
#include <cstdint>

namespace rf {

template <class T>
struct Tile {
  const T* a = nullptr;
  int64_t a_row = 0, a_step = 1;
  const int64_t *a_offsets = nullptr, *b_offsets = nullptr;  // one for each segment
  int64_t segments = 0, length = 0;                          // k = segments * length
  const T* b = nullptr;
  int64_t b_step = 0;
  T* c = nullptr;
  int64_t c_row = 0;
  int64_t columns = 0;               // columns of c that exist; b has them padded to whole vectors
  bool add = false;                  // c += instead of c =
  // What others will read next: `ahead_count` cache lines, `ahead_step` elements apart, of which the tile fetches one at
  // each step of k. Null: none. Only tiles of two 512-bit vectors do; the others have no time for it.
  const T* ahead = nullptr;
  int64_t ahead_step = 0, ahead_count = 0;
};

constexpr int kMaxTileRows = 16;

template <class T>
struct TileSet {
  using Function = void (*)(const Tile<T>&);
  int lanes;                                    // elements of a vector
  int max_rows[3];                              // by number of vectors: 1 or 2
  Function run[3][kMaxTileRows + 1];            // [vectors][rows]

  int width() const { return 2 * lanes; }       // columns of a full panel
  int vectors(int64_t columns) const { return columns > lanes ? 2 : 1; }
  int64_t padded(int64_t columns) const { return (columns + lanes - 1) / lanes * lanes; }
};

// The tiles for this processor. `wide_tiles`: they use 512-bit vectors.
template <class T>
const TileSet<T>& tiles();
bool wide_tiles();

// Runs `tile` (at most a panel of columns) over m rows, in heights of at most `most` that differ by at most one. Moves
// its a and c, and moves them back: a copy of a tile that was just written would wait for the writes.
template <class T>
void run_rows(const TileSet<T>& set, int64_t m, Tile<T>& tile, int most = kMaxTileRows) {
  const int vectors = set.vectors(tile.columns), height = std::min(most, set.max_rows[vectors]);
  if (m <= 0) return;
  // a division is a good part of a short tile's time
  int64_t calls = m <= height ? 1 : (m + height - 1) / height;
  const T* const a = tile.a;
  T* const c = tile.c;
  const int64_t rows = calls == 1 ? m : m / calls;
  for (int64_t taller = m - rows * calls; calls > 0; --calls, --taller) {
    const int64_t now = rows + (taller > 0 ? 1 : 0);
    set.run[vectors][now](tile);
    tile.a += now * tile.a_row;
    tile.c += now * tile.c_row;
  }
  tile.a = a;
  tile.c = c;
}

// Packs b (k x n; b[p * row + j * column]) into panels of set.width() columns, the last padded to whole
// vectors: panel j0 starts at out + k * j0. `out` holds k * set.padded(n) elements.
template <class T>
void pack_panels(const TileSet<T>& set, int64_t k, int64_t n, const T* b, int64_t row, int64_t column, T* out);

// One panel of any number of columns: out[p * set.padded(columns) + j].
template <class T>
void pack_panel(const TileSet<T>& set, int64_t k, int64_t columns, const T* b, int64_t row, int64_t column, T* out);

// to[p * to_row + j] = from[j * from_row + p] for j < rows, p < columns.
template <class T>
void transpose(int64_t rows, int64_t columns, const T* from, int64_t from_row, T* to, int64_t to_row);

}  // namespace rf
