// Conv2DBackpropInput and Conv2DBackpropFilter.
//
// To the input: pixels with the same residue modulo the strides meet the same taps of the filter, so each residue
// (phase) is a convolution of stride 1 over the gradient, with those taps and transposed channels.
// To the filter: each row of the filter is a product of patches (transposed) and gradient over all pixels.
#include <algorithm>
#include <cstring>

#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "kernels/kernel.h"

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
                     (g.h.in - 1) / g.h.stride + pass.span, (g.w.in - 1) / g.w.stride + wide.high - wide.low + 1};
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
      for (const Tap& row : rows[i])
        for (size_t t = 0; t < (joined ? std::min<size_t>(columns[j].size(), 1) : columns[j].size()); ++t)
          phase.offsets.push_back((row.at - high.low) * pass.frame.row() + (columns[j][t].at - wide.low) * g.out_channels);
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

    const TileSet<T>& set = tiles<T>();
    const auto rows = all_taps(g.h), columns = all_taps(g.w);
    Pass<T> pass = input_pass<T>(g, rows, columns);
    const int64_t packed = g.h.size * g.w.size * g.out_channels * set.padded(g.in_channels);
    T* memory = static_cast<T*>(c.scratch(static_cast<size_t>(packed + pass.memory()) * sizeof(T)));
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

// The gradient of the filter is summed over chunks of pixels whose frames and gradients fit the second cache.
constexpr int64_t kChunkBytes = 160 * 1024;

// dw += patches^T dy over `count` pixels: `offsets` (one for each output row) locate the rows' patches in `frame`.
template <class T>
void add_chunk(const TileSet<T>& set, const ConvGeometry& g, const T* frame, int64_t frame_row,
               const std::vector<int64_t>& offsets, const T* dy, bool packed, bool add, T* dw) {
  const int64_t pixels = static_cast<int64_t>(offsets.size()) * g.w.out;
  const bool joined = g.w.dilation == 1;
  const int64_t rows = joined ? g.w.size * g.in_channels : g.in_channels;
  Tile<T> t;
  t.a_row = 1;
  t.a_step = g.w.stride * g.in_channels;
  t.offsets = offsets.data();
  t.segments = static_cast<int64_t>(offsets.size());
  t.length = g.w.out;
  t.c_row = g.out_channels;
  t.add = add;
  for (int64_t n = 0; n < g.out_channels; n += set.width()) {
    t.columns = std::min<int64_t>(g.out_channels - n, set.width());
    t.b = packed ? dy + pixels * n : dy;
    t.b_step = set.padded(t.columns);
    for (int64_t i = 0; i < g.h.size; ++i)
      for (int64_t j = 0; j < (joined ? 1 : g.w.size); ++j) {
        t.a = frame + i * g.h.dilation * frame_row + j * g.w.dilation * g.in_channels;
        t.c = dw + (i * g.w.size + j) * g.in_channels * g.out_channels + n;
        run_rows(set, rows, t);
      }
  }
}

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

    const TileSet<T>& set = tiles<T>();
    const int64_t span = g.h.extent();
    const Frame frame{g.h.in, g.w.in, g.in_channels, g.h.before, g.w.before,
                      (g.h.out - 1) * g.h.stride + span, (g.w.out - 1) * g.w.stride + g.w.extent()};
    // whole images if several fit, else bands of rows of one image
    const int64_t row_bytes = std::max<int64_t>(frame.row(), g.w.out * g.out_channels) * int64_t{sizeof(T)};
    const int64_t images = std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(row_bytes * frame.rows, 1), 1, g.batch);
    const int64_t band = images > 1 ? g.h.out
                                    : std::clamp<int64_t>((kChunkBytes / row_bytes - span) / g.h.stride + 1,
                                                          std::min<int64_t>(4, g.h.out), g.h.out);
    const bool packed = g.out_channels % set.lanes != 0 || g.out_channels > set.width();
    const int64_t pixels = images * band * g.w.out;
    const int64_t panels = packed ? pixels * set.padded(g.out_channels) : 0;
    const int64_t frame_size = frame.inside() ? frame.image() : ((band - 1) * g.h.stride + span) * frame.row();
    T* memory = static_cast<T*>(
        c.scratch(static_cast<size_t>(panels + (frame.inside() ? 0 : images * frame_size)) * sizeof(T)));

    std::vector<int64_t> offsets;
    bool add = false;
    for (int64_t n = 0; n < g.batch; n += images) {
      const int64_t count = std::min(images, g.batch - n);
      for (int64_t from = 0; from < g.h.out; from += band) {
        const int64_t to = std::min(g.h.out, from + band);
        const T* first = nullptr;
        offsets.clear();
        for (int64_t i = 0; i < count; ++i) {
          const T* at = frame_rows(frame, x.data<T>() + (n + i) * frame.image(), from * g.h.stride,
                                   (to - 1) * g.h.stride + span, memory + panels + i * frame_size);
          if (i == 0) first = at;
          for (int64_t r = from; r < to; ++r) offsets.push_back(i * frame_size + (r - from) * g.h.stride * frame.row());
        }
        const T* gradient = dy.data<T>() + (n * g.h.out + from) * g.w.out * g.out_channels;
        if (packed)
          pack_panels(set, count * (to - from) * g.w.out, g.out_channels, gradient, g.out_channels, int64_t{1}, memory);
        add_chunk(set, g, first, frame.row(), offsets, packed ? memory : gradient, packed, add, dw.data<T>());
        add = true;
      }
    }
  };
}

}  // namespace

RF_KERNEL("Conv2DBackpropInput", conv2d_backprop_input, float, double)
RF_KERNEL("Conv2DBackpropFilter", conv2d_backprop_filter, float, double)

}  // namespace rf
