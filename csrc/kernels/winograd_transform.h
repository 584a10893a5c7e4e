// The five linear maps of Winograd's convolutions F(4x4, 3x3) and F(2x2, 5x5): y = A^T [(G g G^T) * (B^T d B)] A, for a
// filter g of 3x3 or 5x5 taps, a patch d of 6x6 pixels and a square y of 4x4 or 2x2 outputs; * multiplies the 36 points
// one by one.
// The gradient of the filter is the adjoint, G^T [(B^T d B) * (A dy A^T)] G.
//
// Channels lie innermost on both sides and are independent: a vector register holds that many of them. `points` is a
// sequence of 36 rows of channels, `spread` elements apart (not a multiple of a page, or they meet in the caches).
// Maps write all channels of a tile; their number is at least `lanes`. Compiled for baseline, AVX2 and AVX-512.
// Pure functions, thread-safe.
// Source: Winograd, "Arithmetic Complexity of Computations", SIAM 1980; Lavin, Gray, "Fast Algorithms for Convolutional
// Neural Networks", CVPR 2016.
#pragma once

#include <cstdint>

namespace rf {

constexpr int kWinogradPatch = 6;  // inputs along one axis
constexpr int kWinogradPoints = kWinogradPatch * kWinogradPatch;
// Outputs along one axis.
constexpr int winograd_tile(int64_t taps) { return kWinogradPatch + 1 - static_cast<int>(taps); }

// A square of pixels of an image, part of which may lie outside and is zero.
template <class T>
struct Patch {
  const T* rows[kWinogradPatch];  // where column 0 would be; rows outside: zeros for all columns
  int64_t pixel = 0;              // elements from column to column
  int from = 0, to = 0;           // the columns inside
};

// A square of outputs, cropped at the edges of the image.
template <class T>
struct Crop {
  T* first;
  int64_t row = 0, pixel = 0;     // elements from row to row and from column to column
  int rows = 0, columns = 0;      // 1 to those of a tile
};

template <class T>
struct WinogradTransforms {
  int lanes;
  // B^T d B of 6x6 pixels, and A dy A^T of a tile.
  void (*image)(const Patch<T>& patch, int64_t channels, T* points, int64_t spread);
  void (*out_backprop)(const Patch<T>& patch, int64_t channels, T* points, int64_t spread);
  // A^T m A.
  void (*output)(const T* points, int64_t spread, int64_t channels, const Crop<T>& crop);
  // G g G^T and G^T m G; the taps are `tap` elements apart (negative: the filter turned by 180 degrees).
  void (*filter)(const T* taps, int64_t tap, int64_t channels, T* points, int64_t spread);
  void (*filter_backprop)(const T* points, int64_t spread, int64_t channels, T* taps, int64_t tap);
};

// The transforms for filters of `taps` x `taps` (3 or 5) on this processor, of vectors that `channels` fill; null where
// even the shortest is longer.
template <class T>
const WinogradTransforms<T>* winograd_transforms(int taps, int64_t channels);

}  // namespace rf
