// Vectors lie along the pixels. For some output rows at a time, the gradient is transposed, and register tiles multiply it
// by the filter: a row of products for each (tap, channel). Such a row is a piece of the image's gradient, shifted; it is
// added where it belongs.
//
// The sums are kept as planes, one for each channel and each residue of rows and columns modulo the strides, so that
// neighbours in a row of products are neighbours in its plane. Rows of products and of planes have the same pitch, with
// room for what a shift moves over an end: several rows are added as one, and what does not belong to the image is in
// the room between its rows.
//
// Threads share the images and bands of their rows. Bands follow from the geometry, and a sum runs over the output rows
// in their order: the same bits on any number of threads.
#include "kernels/conv_few_channels.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "base/simd.h"

namespace rf {
namespace {

constexpr int64_t kBandBytes = 64 * 1024;  // of the planes of a band, beside what is multiplied
constexpr int64_t kPixels = 192;           // multiplied at a time: gradient and products stay in the first cache

// Where tap t adds output position o: at o + shift of the plane of `residue`.
struct Landing {
  int64_t residue, shift;
  Landing(const Window& w, int64_t t) {
    const int64_t offset = t * w.dilation - w.before, residues = w.stride;
    residue = (offset % residues + residues) % residues;
    shift = (offset - residue) / residues;
  }
};

template <class T>
class FewChannels {
 public:
  explicit FewChannels(const ConvGeometry& g) : g_(g) {
    const Landing left(g.w, 0), right(g.w, g.w.size - 1);
    margin_ = std::max<int64_t>(0, -left.shift);
    const int64_t positions = (g.w.in + g.w.stride - 1) / g.w.stride;
    pitch_ = std::max({g.w.out, g.w.out + right.shift, positions + margin_});
    rows_ = std::clamp<int64_t>(kPixels / pitch_, 1, g.h.out);
    pixels_ = set_.padded(rows_ * pitch_) + set_.lanes;  // not a power of two: rows of a tile meet in different sets
    const int64_t row_bytes = pitch_ * g.w.stride * g.in_channels * int64_t{sizeof(T)};
    const int64_t most = (g.h.in + g.h.stride - 1) / g.h.stride;
    band_ = std::clamp<int64_t>(kBandBytes / row_bytes / g.h.stride, std::min<int64_t>(8, most), most);
    plane_ = margin_ + band_ * pitch_ + pitch_;
  }

  int64_t bands() const { return (g_.h.in + band_rows() - 1) / band_rows(); }
  // Elements that `run` needs.
  int64_t memory() const { return (g_.out_channels + filter_rows()) * pixels_ + planes() * plane_; }

  // Rows of band `band` of one image; `dy`, `dx`: of that image.
  void run(const T* filter, const T* dy, T* dx, int64_t band, T* memory) const {
    T* const gradient = memory;
    T* const products = gradient + g_.out_channels * pixels_;
    T* const sums = products + filter_rows() * pixels_;
    const int64_t from = band * band_rows(), to = std::min(g_.h.in, from + band_rows());
    std::memset(gradient, 0, static_cast<size_t>(g_.out_channels * pixels_) * sizeof(T));
    std::memset(sums, 0, static_cast<size_t>(planes() * plane_) * sizeof(T));
    const Rows all = rows_that_reach(from, to);
    for (int64_t r = all.from; r < all.to; r += rows_) {
      const Rows some{r, std::min(all.to, r + rows_)};
      const Rows taps = taps_that_reach(some, from, to);
      multiply(filter, dy, some, taps, gradient, products);
      add(some, taps, from, to, products, sums);
    }
    for (int64_t y = from; y < to; ++y) store_row(sums, y - from, dx + y * g_.w.in * g_.in_channels);
  }

 private:
  using Rows = Window::Range;

  int64_t band_rows() const { return band_ * g_.h.stride; }
  int64_t filter_rows() const { return g_.h.size * g_.w.size * g_.in_channels; }
  int64_t planes() const { return g_.h.stride * g_.w.stride * g_.in_channels; }
  int64_t first_of(int64_t tap) const { return tap * g_.h.dilation - g_.h.before; }  // image row of output row 0

  // Output rows of which a tap meets image rows [from, to).
  Rows rows_that_reach(int64_t from, int64_t to) const { return hit(first_of(0), first_of(g_.h.size - 1), from, to); }
  Rows rows_of_tap(int64_t tap, int64_t from, int64_t to) const { return hit(first_of(tap), first_of(tap), from, to); }
  Rows hit(int64_t lowest, int64_t highest, int64_t from, int64_t to) const {
    const int64_t s = g_.h.stride, least = from - highest, most = to - lowest;  // least <= row * s < most
    const int64_t first = least > 0 ? (least + s - 1) / s : 0, end = most > 0 ? (most + s - 1) / s : 0;
    return {std::min(first, g_.h.out), std::clamp(end, std::min(first, g_.h.out), g_.h.out)};
  }
  Rows taps_that_reach(const Rows& rows, int64_t from, int64_t to) const {
    Rows taps{0, g_.h.size};
    const int64_t first = rows.from * g_.h.stride, last = (rows.to - 1) * g_.h.stride;
    while (taps.from < taps.to && last + first_of(taps.from) < from) ++taps.from;
    while (taps.to > taps.from && first + first_of(taps.to - 1) >= to) --taps.to;
    return taps;
  }

  // products[(tap, column, channel), pixel] for the rows `taps` of the filter.
  void multiply(const T* filter, const T* dy, const Rows& rows, const Rows& taps, T* gradient, T* products) const {
    const int64_t out = g_.out_channels, columns = g_.w.out;
    for (int64_t r = rows.from; r < rows.to; ++r)
      transpose(columns, out, dy + r * columns * out, out, gradient + (r - rows.from) * pitch_, pixels_);
    const int64_t offset = 0;
    Tile<T> t;
    t.a = filter + taps.from * g_.w.size * g_.in_channels * out;
    t.a_row = out;
    t.a_offsets = &offset;
    t.segments = 1;
    t.length = out;
    t.b_step = pixels_;
    t.c_row = pixels_;
    const int64_t pixels = set_.padded((rows.to - rows.from) * pitch_);
    for (int64_t p = 0; p < pixels; p += set_.width()) {
      t.b = gradient + p;
      t.c = products + p;
      t.columns = std::min<int64_t>(set_.width(), pixels - p);
      run_rows(set_, (taps.to - taps.from) * g_.w.size * g_.in_channels, t);
    }
  }

  void add(const Rows& rows, const Rows& taps, int64_t from, int64_t to, const T* products, T* sums) const {
    vectorised([=] {
      for (int64_t i = taps.from; i < taps.to; ++i) {
        const Landing down(g_.h, i);
        const Rows those = rows_of_tap(i, from, to);
        const int64_t first = std::max(rows.from, those.from), count = std::min(rows.to, those.to) - first;
        const int64_t into = (first + down.shift - from / g_.h.stride) * pitch_ + margin_;
        for (int64_t j = 0; j < g_.w.size; ++j) {
          const Landing across(g_.w, j);
          const int64_t plane = (down.residue * g_.w.stride + across.residue) * g_.in_channels;
          for (int64_t c = 0; c < g_.in_channels; ++c) {
            const int64_t row = ((i - taps.from) * g_.w.size + j) * g_.in_channels + c;
            const T* x = products + row * pixels_ + (first - rows.from) * pitch_;
            T* y = sums + (plane + c) * plane_ + into + across.shift;
#pragma GCC ivdep
            for (int64_t k = 0; k < count * pitch_; ++k) y[k] += x[k];
          }
        }
      }
    });
  }

  // One row of the image, `row` in its band, from the planes of its residue.
  void store_row(const T* sums, int64_t row, T* dx) const {
    const int64_t step = g_.w.stride * g_.in_channels, whole = g_.w.in / g_.w.stride;
    const T* from = sums + row % g_.h.stride * step * plane_ + margin_ + row / g_.h.stride * pitch_;
    if (step == 1) return void(std::memcpy(dx, from, static_cast<size_t>(whole) * sizeof(T)));
    transpose(step, whole, from, plane_, dx, step);
    for (int64_t p = 0; p < g_.w.in % g_.w.stride * g_.in_channels; ++p) dx[whole * step + p] = from[p * plane_ + whole];
  }

  const ConvGeometry& g_;
  const TileSet<T>& set_ = tiles<T>();
  int64_t margin_ = 0;  // elements in front of a plane's first row, for what is shifted to the left of it
  int64_t pitch_ = 0;   // elements from one row to the next, of products and planes
  int64_t rows_ = 0;    // output rows multiplied at a time
  int64_t pixels_ = 0;  // elements from one row of the transposed gradient, or of products of a tap, to the next
  int64_t band_ = 0;    // rows of a plane
  int64_t plane_ = 0;   // elements of a plane
};

}  // namespace

template <class T>
bool few_channels(const ConvGeometry& g) {
  return 2 * g.in_channels <= tiles<T>().lanes && g.h.size * g.w.size * g.in_channels >= 8 && g.out_channels >= 4;
}

template <class T>
void few_channels_backprop_input(Context& c, const ConvGeometry& g, const T* filter, const T* dy, T* dx) {
  const FewChannels<T> gradient(g);
  const int64_t bands = gradient.bands(), size = gradient.memory();
  T* memory = static_cast<T*>(c.scratch(static_cast<size_t>(size * intra_op_threads()) * sizeof(T)));
  parallel_for(g.batch * bands, 1, [&](int64_t begin, int64_t end, int part) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t n = b / bands;
      gradient.run(filter, dy + n * g.h.out * g.w.out * g.out_channels, dx + n * g.h.in * g.w.in * g.in_channels,
                   b % bands, memory + part * size);
    }
  });
}

#define RF_FEW_CHANNELS_FOR(T)                         \
  template bool few_channels<T>(const ConvGeometry&);  \
  template void few_channels_backprop_input(Context&, const ConvGeometry&, const T*, const T*, T*);
RF_FEW_CHANNELS_FOR(float)
RF_FEW_CHANNELS_FOR(double)

}  // namespace rf
