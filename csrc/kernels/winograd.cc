#include "kernels/winograd.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/tile.h"
#include "kernels/winograd_tiles.h"

namespace rf {
namespace {

// Measured on an AVX-512 core, batch 8 to 64, times of the direct sums over those of Winograd:
//   3x3, forward: 16 -> 16 channels at 32x32 1.5, 32 -> 32 at 16x16 2.0, 64 -> 64 at 8x8 2.4, 67 -> 35 at 17x19 2.0,
//   8 -> 64 at 28x28 1.3, 8 -> 8 1.8 (below 8 channels no vector is full);
//   5x5, all three ops: 32 -> 64 at 14x14 1.7, 64 -> 64 at 8x8 1.7, 67 -> 35 at 17x19 1.6, 8 -> 64 at 28x28 1.3,
//   16 -> 16 1.1, 8 -> 32 1.1, 12 -> 12 1.0 (AVX2: 16 -> 16 1.4, 8 -> 8 0.8);
//   outputs in part of their tiles, 64 -> 64: 3x3: 7x7 1.9, 6x6 1.4, 5x5 1.0, 3x8 1.3, 3x3 2.0; 5x5: 7x7 1.3, 5x5 1.15,
//   3x3 1.3. Where most taps lie in the padding the direct sums skip them: 2x16 0.9 and 2x8 0.65, 1x7 0.2;
//   filters that leave the second cache: 3x3: 128 -> 128 at 28x28 2.2, 256 -> 256 at 14x14 1.8 (one image: 0.7),
//   512 -> 512 at 7x7 1.1 (one image: 0.35); 5x5: 128 -> 128 at 28x28 1.7 (1.6), 256 -> 256 at 14x14 1.8 (1.05), at 7x7
//   1.15 (0.6), 96 -> 96 at 4x4 0.9.
constexpr int64_t kFewestChannels = 8;
constexpr int64_t kFewestPairs = 16 * 16;        // channels in x channels out, for 5x5, whose tiles are smaller
constexpr int64_t kFewestOutputs = 3;            // along either axis
constexpr int64_t kFewestOfTiles = 45;           // percent of the outputs of its tiles that an image has
constexpr int64_t kSmallFilter = 96 * 96;        // channels in x channels out
constexpr int64_t kManyTiles = 16;               // of an image, which pay for transforming a larger filter

// Channels from which on another thread pays for a transform.
constexpr int64_t kWorthTransforming = 8 * 1024;

// The transformed filter: for each point the panels of tile.h.
template <class T>
class Filter {
 public:
  // `transposed`: turned by 180 degrees, channels out before channels in.
  Filter(int taps, int64_t in, int64_t out, bool transposed)
      : taps_(taps), in_(in), out_(out), padded_(set_.padded(out)), spread_(in * padded_ + kSkew),
        transposed_(transposed) {}

  // Elements that `transform` needs, and keeps.
  int64_t memory() const { return kWinogradPoints * spread_ + (copied() ? taps_ * taps_ * in_ * padded_ : 0); }

  void transform(const T* taps, T* memory) {
    points_ = memory;
    if (copied()) taps = copy(taps, memory + kWinogradPoints * spread_);
    const int64_t size = in_ * padded_, last = (taps_ * taps_ - 1) * size;
    const int64_t first = transposed_ ? last : 0, step = transposed_ ? -size : size;
    const WinogradTransforms<T>& transforms = *winograd_transforms<T>(taps_, padded_);
    parallel_for(in_, 1 + kWorthTransforming / padded_, [&](int64_t begin, int64_t end, int) {
      for (int64_t k = begin; k < end; ++k)
        for (int64_t j = 0; j < padded_; j += set_.width()) {
          const int64_t columns = std::min<int64_t>(padded_ - j, set_.width());
          transforms.filter(taps + first + k * padded_ + j, step, columns, memory + in_ * j + k * columns, spread_);
        }
    });
  }

  // products[point] = images[point] filter[point] for `tiles` tiles.
  void multiply(const PointRows<T>& images, const PointRows<T>& products, int64_t tiles) const {
    static constexpr int64_t zero = 0;
    Tile<T> t;
    t.a_row = images.row;
    t.a_offsets = &zero;
    t.segments = 1;
    t.length = in_;
    t.c_row = products.row;
    for (int64_t point = 0; point < kWinogradPoints; ++point)
      for (int64_t j = 0; j < padded_; j += set_.width()) {
        t.columns = t.b_step = std::min<int64_t>(padded_ - j, set_.width());
        t.a = images.first + point * images.spread;
        t.b = points_ + point * spread_ + in_ * j;
        t.c = products.first + point * products.spread + j;
        run_rows(set_, tiles, t);
      }
  }
  // A tile of rows reads them all before it writes, so one panel of products may overwrite the images.
  bool in_place() const { return padded_ <= set_.width() && point_row<T>(in_) == point_row<T>(out_); }

 private:
  bool copied() const { return transposed_ || padded_ != out_; }

  // Taps as (in, padded_), for the transforms take whole vectors.
  const T* copy(const T* taps, T* to) const {
    if (padded_ != out_) std::fill_n(to, taps_ * taps_ * in_ * padded_, T(0));
    for (int64_t tap = 0; tap < taps_ * taps_; ++tap) {
      const T* from = taps + tap * in_ * out_;
      T* rows = to + tap * in_ * padded_;
      if (transposed_) transpose(out_, in_, from, in_, rows, padded_);
      else
        for (int64_t k = 0; k < in_; ++k) std::copy_n(from + k * out_, out_, rows + k * padded_);
    }
    return to;
  }

  const TileSet<T>& set_ = tiles<T>();
  const int taps_;
  const int64_t in_, out_, padded_, spread_;
  const bool transposed_;
  const T* points_ = nullptr;
};

// out[n, i, j] = sum over taps of source[n, i + p - before_h, j + q - before_w] filter[p, q]; `transposed`: of the
// filter turned by 180 degrees whose channels in and out have changed places.
template <class T>
void correlate(Context& c, const ImageTiles<T>& source, int taps, const T* weights, bool transposed,
               int64_t out_channels, T* out) {
  const int64_t in = source.channels, count = source.count(), threads = intra_op_threads();
  Filter<T> filter(taps, in, out_channels, transposed);
  // bits do not depend on the block: no larger than leaves one for each thread
  const int64_t block = std::min(block_tiles<T>(in, out_channels), (count + threads - 1) / threads);
  const int64_t zeros = kWinogradPatch * point_row<T>(in);
  const int64_t points = points_size<T>(in, block) + points_size<T>(out_channels, block);
  T* memory = static_cast<T*>(c.scratch(sizeof(T) * static_cast<size_t>(filter.memory() + zeros + points * threads)));
  filter.transform(weights, memory);
  T* const zero_row = memory + filter.memory();
  std::fill_n(zero_row, zeros, T(0));
  memory = zero_row + zeros;

  const WinogradTransforms<T>& to_points = *winograd_transforms<T>(taps, in);
  const WinogradTransforms<T>& from_points = *winograd_transforms<T>(taps, out_channels);
  parallel_for((count + block - 1) / block, 1, [&](int64_t begin, int64_t end, int part) {
    const auto images = point_rows(memory + part * points, in, block);
    const auto products =
        filter.in_place() ? images : point_rows(images.first + points_size<T>(in, block), out_channels, block);
    for (int64_t first = begin * block; first < std::min(end * block, count); first += block) {
      const int64_t n = std::min(block, count - first);
      for (int64_t i = 0; i < n; ++i) {
        const Patch<T> patch = source.patch(first + i, kWinogradPatch, zero_row);
        to_points.image(patch, in, images.first + i * images.row, images.spread);
      }
      filter.multiply(images, products, n);
      for (int64_t i = 0; i < n; ++i) {
        const Crop<T> crop = source.crop(first + i, out_channels, out);
        from_points.output(products.first + i * products.row, products.spread, out_channels, crop);
      }
    }
  });
}

}  // namespace

bool worth_winograd(const ConvGeometry& g) {
  auto plain = [](const Window& x) { return x.stride == 1 && x.dilation == 1; };
  const int64_t taps = g.h.size, pairs = g.in_channels * g.out_channels;
  if (!plain(g.h) || !plain(g.w) || taps != g.w.size || (taps != 3 && taps != 5)) return false;
  if (std::min(g.in_channels, g.out_channels) < kFewestChannels || (taps == 5 && pairs < kFewestPairs)) return false;
  const int64_t tile = winograd_tile(taps), count = tiles_along(g.h.out, tile) * tiles_along(g.w.out, tile);
  if (std::min(g.h.out, g.w.out) < kFewestOutputs) return false;
  if (g.h.out * g.w.out * 100 < count * tile * tile * kFewestOfTiles) return false;
  return count >= kManyTiles || pairs <= kSmallFilter;
}

template <class T>
void winograd_forward(Context& c, const ConvGeometry& g, const T* x, const T* filter, T* y) {
  const ImageTiles<T> source{winograd_tile(g.h.size), x,       g.batch,    g.h.in,  g.w.in,
                             g.in_channels,           g.h.before, g.w.before, g.h.out, g.w.out};
  correlate(c, source, static_cast<int>(g.h.size), filter, false, g.out_channels, y);
}

template <class T>
void winograd_backprop_input(Context& c, const ConvGeometry& g, const T* filter, const T* dy, T* dx) {
  const int64_t last = g.h.size - 1;
  const ImageTiles<T> source{winograd_tile(g.h.size), dy, g.batch, g.h.out, g.w.out,
                             g.out_channels, last - g.h.before, last - g.w.before, g.h.in, g.w.in};
  correlate(c, source, static_cast<int>(g.h.size), filter, true, g.in_channels, dx);
}

#define RF_WINOGRAD_FOR(T)                                                                           \
  template void winograd_forward(Context&, const ConvGeometry&, const T*, const T*, T*);             \
  template void winograd_backprop_input(Context&, const ConvGeometry&, const T*, const T*, T*);
RF_WINOGRAD_FOR(float)
RF_WINOGRAD_FOR(double)

}  // namespace rf
