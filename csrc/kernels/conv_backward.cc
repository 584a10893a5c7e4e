// Conv2DBackpropInput and Conv2DBackpropFilter.
//
// To the input: pixels with the same residue modulo the strides meet the same taps of the filter, so each residue
// (phase) is a convolution of stride 1 over the gradient, with those taps and transposed channels.
// To the filter: each row of the filter is a product of patches (transposed) and gradient over all pixels.
#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "kernels/conv.h"
#include "kernels/conv_few_channels.h"
#include "kernels/gemm.h"
#include "kernels/kernel.h"
#include "kernels/winograd.h"

namespace rf {
namespace {

// A tap of the filter and the output position that it links to the first position of a phase.
struct Tap {
  int64_t index, at;
};

// The taps that input positions `phase`, `phase` + stride, ... meet, by ascending output position.
std::vector<Tap> taps_of(const Window& w, int64_t phase) {
  std::vector<Tap> taps;
  for (int64_t t = w.size - 1; t >= 0; --t) {
    const int64_t position = phase + w.before - t * w.dilation;
    if (position % w.stride == 0) taps.push_back({t, position / w.stride});
  }
  return taps;
}

// The lowest and the highest output position of any phase's taps.
struct Reach {
  int64_t low = 0, high = 0;
};
Reach reach(const std::vector<std::vector<Tap>>& phases) {
  Reach r;
  bool any = false;
  for (const auto& taps : phases)
    for (const Tap& tap : taps) {
      r.low = any ? std::min(r.low, tap.at) : tap.at;
      r.high = any ? std::max(r.high, tap.at) : tap.at;
      any = true;
    }
  return r;
}

std::vector<std::vector<Tap>> all_taps(const Window& w) {
  std::vector<std::vector<Tap>> phases;
  for (int64_t p = 0; p < std::min(w.stride, w.in); ++p) phases.push_back(taps_of(w, p));
  return phases;
}

bool side_by_side(const std::vector<Tap>& taps) {
  for (size_t i = 1; i < taps.size(); ++i)
    if (taps[i].at != taps[i - 1].at + 1) return false;
  return true;
}

// Filters of one phase as panels: k = (tap, out channel), columns = in channels.
template <class T>
void pack_taps(const TileSet<T>& set, const ConvGeometry& g, const std::vector<Tap>& rows,
               const std::vector<Tap>& columns, const T* filter, T* out) {
  const int64_t k = static_cast<int64_t>(rows.size() * columns.size()) * g.out_channels;
  for (int64_t j = 0; j < g.in_channels; j += set.width()) {
    const int64_t count = std::min<int64_t>(g.in_channels - j, set.width()), padded = set.padded(count);
    T* to = out + k * j;
    if (padded != count) std::memset(to, 0, static_cast<size_t>(k * padded) * sizeof(T));
    for (const Tap& row : rows)
      for (const Tap& column : columns) {
        const T* from = filter + ((row.index * g.w.size + column.index) * g.in_channels + j) * g.out_channels;
        transpose(count, g.out_channels, from, g.out_channels, to, padded);
        to += g.out_channels * padded;
      }
  }
}

template <class T>
Pass<T> input_pass(const ConvGeometry& g, const std::vector<std::vector<Tap>>& rows,
                   const std::vector<std::vector<Tap>>& columns) {
  const Reach high = reach(rows), wide = reach(columns);
  Pass<T> pass;
  pass.batch = g.batch;
  pass.span = high.high - high.low + 1;
  pass.frame = Frame{g.h.out, g.w.out, g.out_channels, -high.low, -wide.low,
                     (g.w.in - 1) / g.w.stride + wide.high - wide.low + 1};
  pass.out_height = g.h.in;
  pass.out_width = g.w.in;
  pass.out_channels = g.in_channels;
  pass.out_step_h = g.h.stride;
  pass.out_step_w = g.w.stride;
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < columns.size(); ++j) {
      const bool joined = side_by_side(columns[j]);
      Phase<T> phase;
      phase.first_row = static_cast<int64_t>(i);
      phase.first_column = static_cast<int64_t>(j);
      phase.rows = (g.h.in - phase.first_row - 1) / g.h.stride + 1;
      phase.columns = (g.w.in - phase.first_column - 1) / g.w.stride + 1;
      phase.length = g.out_channels * (joined ? static_cast<int64_t>(columns[j].size()) : 1);
      for (const Tap& row : rows[i]) {
        phase.taps.push_back(row.at - high.low);
        for (size_t t = 0; t < (joined ? std::min<size_t>(columns[j].size(), 1) : columns[j].size()); ++t)
          phase.offsets.push_back((row.at - high.low) * pass.frame.row() + (columns[j][t].at - wide.low) * g.out_channels);
      }
      pass.phases.push_back(phase);
    }
  return pass;
}

template <class T>
Kernel conv2d_backprop_input(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &filter = c.input(1), &dy = c.input(2);
    const auto sizes = int_values(c.input(0));
    check(sizes.size() == 4, "[", attrs.op, "] input_sizes must have 4 values: got ", sizes.size());
    const ConvGeometry g = conv_geometry(attrs, Shape(sizes.begin(), sizes.end()), filter.shape());
    check_out_backprop(attrs, g, dy.shape());
    Tensor& dx = c.output(0, g.input());
    if (dx.num_elements() == 0) return;
    if (g.empty()) return void(std::memset(dx.raw(), 0, dx.bytes()));
    if (g.pointwise())
      return gemm(false, true, g.batch * g.h.out * g.w.out, g.in_channels, g.out_channels, T(1), dy.data<T>(),
                  g.out_channels, filter.data<T>(), g.out_channels, T(0), dx.data<T>(), g.in_channels);
    if (worth_winograd(g)) return winograd_backprop_input(c, g, filter.data<T>(), dy.data<T>(), dx.data<T>());
    if (few_channels<T>(g)) return few_channels_backprop_input(c, g, filter.data<T>(), dy.data<T>(), dx.data<T>());

    const TileSet<T>& set = tiles<T>();
    const auto rows = all_taps(g.h), columns = all_taps(g.w);
    Pass<T> pass = input_pass<T>(g, rows, columns);
    const int64_t packed = g.h.size * g.w.size * g.out_channels * set.padded(g.in_channels);
    T* memory = static_cast<T*>(c.scratch(static_cast<size_t>(packed + pass.memory() * intra_op_threads()) * sizeof(T)));
    T* panels = memory;
    for (size_t i = 0; i < rows.size(); ++i)
      for (size_t j = 0; j < columns.size(); ++j) {
        pack_taps(set, g, rows[i], columns[j], filter.data<T>(), panels);
        pass.phases[i * columns.size() + j].filters = panels;
        panels += static_cast<int64_t>(rows[i].size() * columns[j].size()) * g.out_channels * set.padded(g.in_channels);
      }
    run_pass(set, pass, dy.data<T>(), dx.data<T>(), memory + packed);
  };
}

// The gradient of the filter is summed over chunks of pixels whose images and gradients fit the second cache.
constexpr int64_t kChunkBytes = 160 * 1024;
// With fewer channels the taps of a filter row share a tile, for which the images need frames; with more,
// each tap has its own tiles and skips the pixels where it lies in the padding.
constexpr int64_t kFewChannels = 8;

// `images` whole images, or `rows` output rows of one.
struct Chunks {
  int64_t images, rows;
};

template <class T>
class FilterGradient {
 public:
  explicit FilterGradient(const ConvGeometry& g)
      : g_(g), joined_(g.w.dilation == 1 && g.in_channels < kFewChannels),
        frame_(joined_ ? Frame{g.h.in, g.w.in, g.in_channels, g.h.before, g.w.before,
                               (g.w.out - 1) * g.w.stride + g.w.extent()}
                       : Frame{g.h.in, g.w.in, g.in_channels, g.h.before, 0, g.w.in}),
        packed_(g.out_channels % set_.lanes != 0 || g.out_channels > set_.width()) {
    const int64_t row_bytes = std::max<int64_t>(g.h.stride * frame_.row(), g.w.out * g.out_channels) * int64_t{sizeof(T)};
    const int64_t fit = kChunkBytes / row_bytes;  // output rows
    chunks_.images = std::clamp<int64_t>(fit / g.h.out, 1, g.batch);
    chunks_.rows = chunks_.images > 1 ? g.h.out : std::clamp<int64_t>(fit, std::min<int64_t>(4, g.h.out), g.h.out);
    panels_ = packed_ ? chunks_.images * chunks_.rows * g.w.out * set_.padded(g.out_channels) : 0;
    frame_size_ = frame_.in_place() ? frame_.image() : frame_rows_of(chunks_.rows) * frame_.row();
  }

  // Blocks of the filter, each with its own sums over all pixels.
  int64_t blocks() const { return g_.h.size * (joined_ ? 1 : g_.w.size) * panels_of_dy(); }
  // Elements that `run` needs.
  int64_t memory() const { return panels_ + (frame_.in_place() ? 0 : chunks_.images * frame_size_); }

  // Blocks [first, last) of dw.
  void run(const T* x, const T* dy, T* dw, int64_t first, int64_t last, T* memory) {
    for (int64_t n = 0; n < g_.batch; n += chunks_.images)
      for (int64_t from = 0; from < g_.h.out; from += chunks_.rows) {
        const int64_t to = std::min(g_.h.out, from + chunks_.rows), images = std::min(chunks_.images, g_.batch - n);
        const int64_t above = from * g_.h.stride;
        const T* frames = nullptr;
        for (int64_t i = images - 1; i >= 0; --i)
          frames = frame_rows(frame_, x + (n + i) * frame_.image(), above, above + frame_rows_of(to - from),
                              memory + panels_ + i * frame_size_);
        const T* gradient = dy + (n * g_.h.out + from) * g_.w.out * g_.out_channels;
        if (packed_)
          pack_panels(set_, images * (to - from) * g_.w.out, g_.out_channels, gradient, g_.out_channels, int64_t{1}, memory);
        add_chunk(frames, packed_ ? memory : gradient, images, from, to, n + from > 0, first, last, dw);
      }
  }

 private:
  int64_t panels_of_dy() const { return (g_.out_channels + set_.width() - 1) / set_.width(); }
  int64_t frame_rows_of(int64_t out_rows) const { return (out_rows - 1) * g_.h.stride + g_.h.extent(); }

  // Blocks [begin, end) of dw += patches^T dy over output rows [from, to) of `images`; `frames` starts at the row that
  // `from` needs first.
  void add_chunk(const T* frames, const T* dy, int64_t images, int64_t from, int64_t to, bool add, int64_t begin,
                 int64_t end, T* dw) {
    const int64_t pixels = images * (to - from) * g_.w.out;
    Tile<T> t;
    t.a_row = 1;
    t.a_step = g_.w.stride * g_.in_channels;
    t.c_row = g_.out_channels;
    t.add = add;
    int64_t block = 0;
    for (int64_t i = 0; i < g_.h.size; ++i)
      for (int64_t j = 0; j < (joined_ ? 1 : g_.w.size); ++j) {
        const int64_t first_block = block;
        block += panels_of_dy();
        if (block <= begin || first_block >= end) continue;
        const Window::Range rows = g_.h.inside(i);
        const Window::Range columns = joined_ ? Window::Range{0, g_.w.out} : g_.w.inside(j);
        const int64_t first = std::max(rows.from, from), last = std::min(rows.to, to);
        const int64_t left = joined_ ? 0 : g_.w.first(columns.from) + j * g_.w.dilation;  // column of the frame
        t.length = columns.to - columns.from;
        a_offsets_.clear();
        pixels_.clear();
        if (t.length > 0)
          for (int64_t n = 0; n < images; ++n)
            for (int64_t r = first; r < last; ++r) {
              const int64_t row = (r - from) * g_.h.stride + i * g_.h.dilation;
              a_offsets_.push_back(n * frame_size_ + row * frame_.row() + left * g_.in_channels);
              pixels_.push_back((n * (to - from) + r - from) * g_.w.out + columns.from);
            }
        t.a = frames;
        t.segments = static_cast<int64_t>(a_offsets_.size());
        t.a_offsets = a_offsets_.data();
        for (int64_t c = 0, at = first_block; c < g_.out_channels; c += set_.width(), ++at) {
          if (at < begin || at >= end) continue;
          t.columns = std::min<int64_t>(g_.out_channels - c, set_.width());
          t.b = packed_ ? dy + pixels * c : dy;
          t.b_step = set_.padded(t.columns);
          b_offsets_.clear();
          for (const int64_t pixel : pixels_) b_offsets_.push_back(pixel * t.b_step);
          t.b_offsets = b_offsets_.data();
          t.c = dw + (i * g_.w.size + j) * g_.in_channels * g_.out_channels + c;
          run_rows(set_, (joined_ ? g_.w.size : 1) * g_.in_channels, t);
        }
      }
  }

  const TileSet<T>& set_ = tiles<T>();
  const ConvGeometry& g_;
  const bool joined_;
  const Frame frame_;
  const bool packed_;  // dy is copied to panels, for its columns are not one panel of whole vectors
  Chunks chunks_;
  int64_t panels_ = 0, frame_size_ = 0;  // elements
  std::vector<int64_t> a_offsets_, b_offsets_, pixels_;
};

template <class T>
Kernel conv2d_backprop_filter(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &dy = c.input(2);
    const auto sizes = int_values(c.input(1));
    check(sizes.size() == 4, "[", attrs.op, "] filter_sizes must have 4 values: got ", sizes.size());
    const ConvGeometry g = conv_geometry(attrs, x.shape(), Shape(sizes.begin(), sizes.end()));
    check_out_backprop(attrs, g, dy.shape());
    Tensor& dw = c.output(0, g.filter());
    if (dw.num_elements() == 0) return;
    if (g.empty()) return void(std::memset(dw.raw(), 0, dw.bytes()));
    if (g.pointwise())
      return gemm(true, false, g.in_channels, g.out_channels, g.batch * g.h.out * g.w.out, T(1), x.data<T>(),
                  g.in_channels, dy.data<T>(), g.out_channels, T(0), dw.data<T>(), g.out_channels);
    if (worth_winograd(g)) return winograd_backprop_filter(c, g, x.data<T>(), dy.data<T>(), dw.data<T>());
    const FilterGradient<T> gradient(g);
    const int64_t size = gradient.memory();
    T* memory = static_cast<T*>(c.scratch(static_cast<size_t>(size * intra_op_threads()) * sizeof(T)));
    parallel_for(gradient.blocks(), 1, [&](int64_t begin, int64_t end, int part) {
      FilterGradient<T>(gradient).run(x.data<T>(), dy.data<T>(), dw.data<T>(), begin, end, memory + part * size);
    });
  };
}

}  // namespace

RF_KERNEL("Conv2DBackpropInput", conv2d_backprop_input, float, double)
RF_KERNEL("Conv2DBackpropFilter", conv2d_backprop_filter, float, double)

}  // namespace rf
