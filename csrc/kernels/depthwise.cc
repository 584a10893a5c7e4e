// Depthwise convolution and its gradients: one filter set per channel, NHWC, vectors along the channels.
//
// Each goes row by row over what it computes; the inner loops are depthwise_rows.h's. Where a channel has several outputs
// (`multiplier`), rows of the input are written out with each element as often, or summed back to it. Sums run in an order
// that follows from the shapes: the same bits on any number of threads.
#include <algorithm>
#include <cstring>

#include "kernels/depthwise_rows.h"
#include "kernels/elementwise.h"
#include "kernels/window.h"

namespace rf {
namespace {

struct Geometry {
  int64_t batch, channels, multiplier;
  Window h, w;

  int64_t out_channels() const { return channels * multiplier; }
  Shape input() const { return {batch, h.in, w.in, channels}; }
  Shape filter() const { return {h.size, w.size, channels, multiplier}; }
  Shape output() const { return {batch, h.out, w.out, out_channels()}; }
};

Geometry geometry(const WindowAttrs& attrs, const Shape& x, const Shape& f) {
  check(x.rank() == 4 && f.rank() == 4, "[", attrs.op, "] input and filter must have 4 dimensions: got ", x, " and ", f);
  check(x[3] == f[2], "[", attrs.op, "] channels differ: the input has ", x[3], ", the filter ", f[2]);
  return {x[0], x[3], f[3], attrs.rows(x[1], f[0]), attrs.columns(x[2], f[1])};
}

// Rows of an image on another thread: as many as are worth it.
int64_t row_grain(const Geometry& g, int64_t pixels) {
  return 1 + kParallelGrain / (1 + pixels * g.out_channels() * g.h.size * g.w.size);
}

// to[k * m + r] = from[k] for r < m.
template <class T>
void repeat(const T* from, int64_t n, int64_t m, T* to) {
  for (int64_t k = 0; k < n; ++k)
    for (int64_t r = 0; r < m; ++r) *to++ = from[k];
}

// Appends the taps of a row, moved to a row of the source and a row of the filter.
void add_row(const std::vector<RowTap>& columns, int64_t source, int64_t filter, std::vector<RowTap>& taps) {
  for (const RowTap& t : columns) taps.push_back({source + t.from, filter + t.filter, t.first, t.last});
}

// The taps that output row `a` meets, and what they read: rows of the image, or copies with each channel m times.
template <class T>
class InputRows {
 public:
  explicit InputRows(const Geometry& g) : g_(g), row_(g.w.in * g.out_channels()) {
    for (int64_t j = 0; j < g.w.size; ++j) {
      const Window::Range inside = g.w.inside(j);
      if (inside.from < inside.to)
        columns_.push_back({(g.w.first(0) + j * g.w.dilation) * g.out_channels(), j * g.out_channels(), inside.from, inside.to});
    }
  }
  // Elements that `read` needs.
  int64_t memory() const { return g_.multiplier == 1 ? 0 : g_.h.size * row_; }
  int64_t step() const { return g_.w.stride * g_.out_channels(); }

  const T* read(const T* image, int64_t a, T* memory, std::vector<RowTap>& taps) const {
    taps.clear();
    for (int64_t i = 0; i < g_.h.size; ++i) {
      const int64_t y = g_.h.first(a) + i * g_.h.dilation;
      if (y < 0 || y >= g_.h.in) continue;
      const int64_t row = (g_.multiplier == 1 ? y : i) * row_;
      if (g_.multiplier != 1) repeat(image + y * g_.w.in * g_.channels, g_.w.in * g_.channels, g_.multiplier, memory + row);
      add_row(columns_, row, i * g_.w.size * g_.out_channels(), taps);
    }
    return g_.multiplier == 1 ? image : memory;
  }

 private:
  const Geometry& g_;
  const int64_t row_;             // elements
  std::vector<RowTap> columns_;  // the taps of a row
};

template <class T>
T* scratch(Context& c, int64_t elements) {
  return static_cast<T*>(c.scratch(static_cast<size_t>(elements) * sizeof(T)));
}

template <class T>
Kernel forward(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &f = c.input(1);
    const Geometry g = geometry(attrs, x.shape(), f.shape());
    Tensor& y = c.output(0, g.output());
    if (y.num_elements() == 0) return;
    const InputRows<T> input(g);
    const int64_t channels = g.out_channels(), size = input.memory();
    T* memory = scratch<T>(c, size * intra_op_threads());
    parallel_for(g.batch * g.h.out, row_grain(g, g.w.out), [&](int64_t begin, int64_t end, int part) {
      std::vector<RowTap> taps;
      RowSums<T> row;
      row.channels = channels;
      row.filter = f.data<T>();
      row.step = input.step();
      row.out_step = channels;
      row.positions = g.w.out;
      for (int64_t r = begin; r < end; ++r) {
        const T* image = x.data<T>() + r / g.h.out * g.h.in * g.w.in * g.channels;
        row.source = input.read(image, r % g.h.out, memory + part * size, taps);
        row.taps = taps.data();
        row.count = static_cast<int64_t>(taps.size());
        row.out = y.data<T>() + r * g.w.out * channels;
        depthwise_rows<T>(channels).sums(row);
      }
    });
  };
}

void check_out_backprop(const WindowAttrs& attrs, const Geometry& g, const Shape& dy) {
  check(dy == g.output(), "[", attrs.op, "] out_backprop must have the shape ", g.output(), ": got ", dy);
}

// Columns phase, phase + stride, ... of the image, and the taps that they meet in a row of the gradient.
struct Columns {
  int64_t phase, positions;
  std::vector<RowTap> taps;
  Columns(const Geometry& g, int64_t first_column)
      : phase(first_column), positions((g.w.in - first_column - 1) / g.w.stride + 1) {
    for (int64_t j = 0; j < g.w.size; ++j) {
      const int64_t across = phase + g.w.before - j * g.w.dilation, column = across / g.w.stride;
      if (across % g.w.stride != 0) continue;
      const int64_t first = std::max<int64_t>(0, -column), last = std::min(positions, g.w.out - column);
      if (first < last) taps.push_back({column * g.out_channels(), j * g.out_channels(), first, last});
    }
  }
};

// The taps that these columns of image row y meet in the gradient of the image.
void gradient_taps(const Geometry& g, int64_t y, const Columns& columns, std::vector<RowTap>& taps) {
  taps.clear();
  for (int64_t i = 0; i < g.h.size; ++i) {
    const int64_t down = y + g.h.before - i * g.h.dilation, row = down / g.h.stride;
    if (down >= 0 && down % g.h.stride == 0 && row < g.h.out)
      add_row(columns.taps, row * g.w.out * g.out_channels(), i * g.w.size * g.out_channels(), taps);
  }
}

template <class T>
Kernel backward_input(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const auto sizes = int_values(c.input(0));
    const Tensor &f = c.input(1), &dy = c.input(2);
    const Geometry g = geometry(attrs, Shape(sizes.begin(), sizes.end()), f.shape());
    check_out_backprop(attrs, g, dy.shape());
    Tensor& dx = c.output(0, g.input());
    if (dx.num_elements() == 0) return;
    if (g.multiplier == 0) return void(std::memset(dx.raw(), 0, dx.bytes()));
    const int64_t channels = g.out_channels(), m = g.multiplier, size = m == 1 ? 0 : g.w.in * channels;
    std::vector<Columns> phases;
    for (int64_t p = 0; p < std::min(g.w.stride, g.w.in); ++p) phases.emplace_back(g, p);
    T* memory = scratch<T>(c, size * intra_op_threads());
    parallel_for(g.batch * g.h.in, row_grain(g, g.w.in), [&](int64_t begin, int64_t end, int part) {
      std::vector<RowTap> taps;
      RowSums<T> row;
      row.channels = channels;
      row.filter = f.data<T>();
      row.step = channels;
      row.out_step = g.w.stride * channels;
      for (int64_t r = begin; r < end; ++r) {
        T* const out = dx.data<T>() + r * g.w.in * g.channels;
        T* const sums = m == 1 ? out : memory + part * size;
        row.source = dy.data<T>() + r / g.h.in * g.h.out * g.w.out * channels;
        for (const Columns& columns : phases) {
          gradient_taps(g, r % g.h.in, columns, taps);
          row.positions = columns.positions;
          row.taps = taps.data();
          row.count = static_cast<int64_t>(taps.size());
          row.out = sums + columns.phase * channels;
          depthwise_rows<T>(channels).sums(row);
        }
        for (int64_t k = 0; m != 1 && k < g.w.in * g.channels; ++k) {
          out[k] = sums[k * m];
          for (int64_t i = 1; i < m; ++i) out[k] += sums[k * m + i];
        }
      }
    });
  };
}

// Images are summed in so many parts at most, whatever the number of threads.
constexpr int64_t kMostParts = 16;

template <class T>
Kernel backward_filter(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &dy = c.input(2);
    const auto sizes = int_values(c.input(1));
    const Geometry g = geometry(attrs, x.shape(), Shape(sizes.begin(), sizes.end()));
    check_out_backprop(attrs, g, dy.shape());
    Tensor& df = c.output(0, g.filter());
    if (df.num_elements() == 0) return;
    const InputRows<T> input(g);
    const int64_t channels = g.out_channels(), filter = df.num_elements(), size = input.memory();
    const int64_t images = (g.batch + kMostParts - 1) / kMostParts, parts = images ? (g.batch + images - 1) / images : 0;
    T* const sums = scratch<T>(c, parts * filter + size * intra_op_threads());
    T* const memory = sums + parts * filter;
    parallel_for(parts, 1, [&](int64_t begin, int64_t end, int part) {
      std::vector<RowTap> taps;
      RowGradient<T> row;
      row.channels = channels;
      row.step = input.step();
      for (int64_t p = begin; p < end; ++p) {
        row.out = sums + p * filter;
        std::fill_n(row.out, filter, T(0));
        for (int64_t n = p * images; n < std::min(g.batch, (p + 1) * images); ++n)
          for (int64_t a = 0; a < g.h.out; ++a) {
            row.source = input.read(x.data<T>() + n * g.h.in * g.w.in * g.channels, a, memory + part * size, taps);
            row.taps = taps.data();
            row.count = static_cast<int64_t>(taps.size());
            row.gradient = dy.data<T>() + (n * g.h.out + a) * g.w.out * channels;
            depthwise_rows<T>(channels).gradient(row);
          }
      }
    });
    T* const out = df.data<T>();
    std::fill_n(out, filter, T(0));
    run_loop<T>([=] {
      for (int64_t p = 0; p < parts; ++p)
        for (int64_t k = 0; k < filter; ++k) out[k] += sums[p * filter + k];
    });
  };
}

RF_KERNEL("DepthwiseConv2dNative", forward, float, double)
RF_KERNEL("DepthwiseConv2dNativeBackpropInput", backward_input, float, double)
RF_KERNEL("DepthwiseConv2dNativeBackpropFilter", backward_filter, float, double)

}  // namespace
}  // namespace rf
