// Where the tiles of images lie, and how their points are laid out: what the passes of winograd.h share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/tile.h"
#include "kernels/winograd_transform.h"

namespace rf {

// The 36 points of some tiles: first[point * spread + tile * row + channel].
template <class T>
struct PointRows {
  T* first;
  int64_t row, spread;
};

// Rows are whole cache lines. What a loop reads or writes together must not lie a page apart, for it would meet in one
// set of the nearest cache: the rows of a register tile, and the 36 points.
constexpr int64_t kSkew = 16;

template <class T>
int64_t point_row(int64_t channels) {
  const int64_t row = (channels + kSkew - 1) / kSkew * kSkew;
  return row * int64_t{sizeof(T)} % 1024 == 0 ? row + kSkew : row;
}
template <class T>
PointRows<T> point_rows(T* memory, int64_t channels, int64_t tiles) {
  const int64_t row = point_row<T>(channels);
  return {memory, row, tiles * row + kSkew};
}
template <class T>
int64_t points_size(int64_t channels, int64_t tiles) {
  return kWinogradPoints * (tiles * point_row<T>(channels) + kSkew);
}

// Tiles of a block: their points on both sides fit a quarter of a megabyte, beside the transformed filter; yet enough
// that this is not read too often, above all where it leaves the second cache. A function of the channels alone.
template <class T>
int64_t block_tiles(int64_t in_channels, int64_t out_channels) {
  constexpr int64_t fit = 256 * 1024 / int64_t{sizeof(T)}, large = 1024 * 1024 / int64_t{sizeof(T)};
  const bool fits = kWinogradPoints * in_channels * out_channels <= large;
  const int64_t tile = kWinogradPoints * (point_row<T>(in_channels) + point_row<T>(out_channels));
  // whole register tiles
  const TileSet<T>& set = tiles<T>();
  const int64_t height = set.max_rows[set.vectors(std::min<int64_t>(set.padded(out_channels), set.width()))];
  return std::max<int64_t>(fit / tile, fits ? 28 : 56) / height * height;
}

inline int64_t tiles_along(int64_t outputs, int64_t tile) { return (outputs + tile - 1) / tile; }

// Outputs (batch, out_height, out_width) in tiles of tile x tile, image by image; output (i, j) reads the pixels from
// (i - before_h, j - before_w) on.
template <class T>
struct ImageTiles {
  int64_t tile;
  const T* images;
  int64_t batch, height, width, channels;
  int64_t before_h, before_w;
  int64_t out_height, out_width;
  int64_t columns = tiles_along(out_width, tile), per_image = tiles_along(out_height, tile) * columns;  // of tiles

  int64_t count() const { return batch * per_image; }

  // The `size` x `size` pixels that tile `index` reads. `zeros`: a row of them.
  Patch<T> patch(int64_t index, int64_t size, const T* zeros) const {
    const int64_t n = index / per_image, at = index % per_image;
    const int64_t top = at / columns * tile - before_h, left = at % columns * tile - before_w;
    Patch<T> p;
    for (int64_t i = 0; i < size; ++i)
      p.rows[i] = top + i < 0 || top + i >= height
                      ? zeros
                      : images + ((n * height + top + i) * width + left) * channels;
    p.pixel = channels;
    p.from = static_cast<int>(std::clamp<int64_t>(-left, 0, size));
    p.to = static_cast<int>(std::clamp<int64_t>(width - left, p.from, size));
    return p;
  }
  // Where tile `index` of `out` (batch, out_height, out_width, out_channels) goes.
  Crop<T> crop(int64_t index, int64_t out_channels, T* out) const {
    const int64_t n = index / per_image, at = index % per_image;
    const int64_t i = at / columns * tile, j = at % columns * tile;
    return {out + ((n * out_height + i) * out_width + j) * out_channels, out_width * out_channels, out_channels,
            static_cast<int>(std::min<int64_t>(tile, out_height - i)),
            static_cast<int>(std::min<int64_t>(tile, out_width - j))};
  }
};

}  // namespace rf
