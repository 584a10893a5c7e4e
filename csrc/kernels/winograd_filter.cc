// The gradient of a filter by Winograd's adjoint: for each of the 36 points, the product of the transformed images
// (transposed) and the transformed gradient of the output, summed over tiles.
#include <algorithm>

#include "base/parallel.h"
#include "base/simd.h"
#include "kernels/gemm.h"
#include "kernels/tile.h"
#include "kernels/winograd.h"
#include "kernels/winograd_tiles.h"

namespace rf {
namespace {

// Of a block: the sums are read and written once for so many products.
constexpr int64_t kFewestTiles = 56;
// Of a group. Groups have sums of their own, which are added up: a long sum is less exact than a sum of sums.
constexpr int64_t kMostBlocks = 8;
// Threads share out groups, in waves whose sums take no more than this; with more channels the work on a block instead.
constexpr int64_t kSumBytes = 512 * 1024, kWidestWave = 8;

// Channels, or sums to add, from which on another thread pays.
constexpr int64_t kWorthTransforming = 8 * 1024, kWorthAdding = 32 * 1024;

template <class T>
class FilterSums {
 public:
  FilterSums(const ConvGeometry& g, const T* x, const T* dy)
      : taps_(static_cast<int>(g.h.size)),
        x_{winograd_tile(taps_), x, g.batch, g.h.in, g.w.in, g.in_channels, g.h.before, g.w.before, g.h.out, g.w.out},
        dy_{winograd_tile(taps_), dy, g.batch, g.h.out, g.w.out, g.out_channels, 0, 0, g.h.out, g.w.out} {
    block_ = std::min(std::max(block_tiles<T>(g.in_channels, g.out_channels), kFewestTiles), x_.count());
    const int64_t blocks = (x_.count() + block_ - 1) / block_;
    wave_ = std::clamp<int64_t>(kSumBytes / (sum_size() * int64_t{sizeof(T)}), 1, kWidestWave);
    group_ = std::min((blocks + wave_ - 1) / wave_, kMostBlocks) * block_;
  }

  int64_t groups() const { return (x_.count() + group_ - 1) / group_; }
  int64_t wave() const { return wave_; }  // groups
  // Elements of a group's sums, and of what else a thread needs.
  int64_t sum_size() const { return kWinogradPoints * sum_spread(); }
  int64_t memory() const {
    return zeros() + points_size<T>(x_.channels, block_) + points_size<T>(dy_.channels, block_);
  }

  // sums = those of the tiles of `group`.
  void add_up(int64_t group, T* sums, T* memory) const {
    T* const zero_row = memory;
    std::fill_n(zero_row, zeros(), T(0));
    const PointRows<T> images = point_rows(memory + zeros(), x_.channels, block_);
    const PointRows<T> gradients = point_rows(images.first + points_size<T>(x_.channels, block_), dy_.channels, block_);
    if (padded() != dy_.channels) std::fill_n(gradients.first, points_size<T>(dy_.channels, block_), T(0));
    const int64_t from = group * group_, to = std::min(from + group_, x_.count());
    for (int64_t first = from; first < to; first += block_) {
      const int64_t n = std::min(block_, to - first);
      parallel_for(n, 1 + kWorthTransforming / (x_.channels + dy_.channels), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          const Patch<T> image = x_.patch(first + i, kWinogradPatch, zero_row);
          image_.image(image, x_.channels, images.first + i * images.row, images.spread);
          const Patch<T> gradient = dy_.patch(first + i, dy_.tile, zero_row);
          gradient_.out_backprop(gradient, dy_.channels, gradients.first + i * gradients.row, gradients.spread);
        }
      });
      const int64_t work = n * x_.channels * dy_.channels;
      parallel_for(kWinogradPoints, 1 + kWorthAThread / work, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) add_products(i, n, images, gradients, first > from, sums);
      });
    }
  }

  // dw of the sums over all tiles.
  void finish(const T* sums, T* dw) const {
    const int64_t size = x_.channels * dy_.channels;
    for (int64_t k = 0; k < x_.channels; ++k)
      gradient_.filter_backprop(sums + k * padded(), sum_spread(), dy_.channels, dw + k * dy_.channels, size);
  }

 private:
  int64_t padded() const { return set_.padded(dy_.channels); }
  int64_t sum_spread() const { return x_.channels * padded() + kSkew; }
  int64_t zeros() const { return kWinogradPatch * point_row<T>(std::max(x_.channels, dy_.channels)); }

  void add_products(int64_t point, int64_t tiles, const PointRows<T>& images, const PointRows<T>& gradients, bool add,
                    T* sums) const {
    static constexpr int64_t zero = 0;
    Tile<T> t;
    t.a_row = 1;
    t.a_step = images.row;
    t.a_offsets = &zero;
    t.segments = 1;
    t.length = tiles;
    t.b_step = gradients.row;
    t.c_row = padded();
    t.add = add;
    for (int64_t j = 0; j < padded(); j += set_.width()) {
      t.columns = std::min<int64_t>(padded() - j, set_.width());
      t.a = images.first + point * images.spread;
      t.b = gradients.first + point * gradients.spread + j;
      t.c = sums + point * sum_spread() + j;
      run_rows(set_, x_.channels, t);
    }
  }

  const TileSet<T>& set_ = tiles<T>();
  const int taps_;
  const ImageTiles<T> x_, dy_;
  const WinogradTransforms<T>& image_ = *winograd_transforms<T>(taps_, x_.channels);
  const WinogradTransforms<T>& gradient_ = *winograd_transforms<T>(taps_, dy_.channels);
  int64_t block_ = 0, group_ = 0;  // tiles
  int64_t wave_ = 0;
};

// sums += more, elements [begin, end).
template <class T>
void add(T* __restrict sums, const T* __restrict more, int64_t begin, int64_t end) {
  vectorised([=] {
    for (int64_t i = begin; i < end; ++i) sums[i] += more[i];
  });
}

}  // namespace

template <class T>
void winograd_backprop_filter(Context& c, const ConvGeometry& g, const T* x, const T* dy, T* dw) {
  const FilterSums<T> filter(g, x, dy);
  const int64_t groups = filter.groups(), wave = filter.wave(), size = filter.sum_size();
  const int64_t slots = std::min(groups, wave + 1), parts = std::min<int64_t>(wave, intra_op_threads());
  T* sums = static_cast<T*>(c.scratch(sizeof(T) * static_cast<size_t>(slots * size + parts * filter.memory())));
  T* memory = sums + slots * size;
  for (int64_t done = 0; done < groups; done += wave) {
    T* const first = sums + (done > 0 ? size : 0);  // what came before is in the first slot
    const int64_t n = std::min(wave, groups - done);
    parallel_for(n, 1, [&](int64_t begin, int64_t end, int part) {
      for (int64_t i = begin; i < end; ++i) filter.add_up(done + i, first + i * size, memory + part * filter.memory());
    });
    parallel_for(size, kWorthAdding, [&](int64_t begin, int64_t end, int) {
      for (T* slot = sums + size; slot < first + n * size; slot += size) add(sums, slot, begin, end);
    });
  }
  filter.finish(sums, dw);
}

template void winograd_backprop_filter(Context&, const ConvGeometry&, const float*, const float*, float*);
template void winograd_backprop_filter(Context&, const ConvGeometry&, const double*, const double*, double*);

}  // namespace rf
