// Depthwise convolution and its gradients: one filter set per channel, NHWC, vectors along the channels.
//
// Each of the three is one pass over (output pixel, tap) pairs inside the image; there is nothing to multiply as
// matrices. Sums run in the order of the pixels: results do not depend on a schedule.
#include <cstring>

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

// Calls f(input pixel, tap, output pixel), offsets in pixels and taps, for every pair inside the image; all taps of
// an output pixel in a row, in their order.
template <class F>
inline void for_taps(const Geometry& g, F&& f) {
  for (int64_t n = 0, out = 0; n < g.batch; ++n)
    for (int64_t a = 0; a < g.h.out; ++a)
      for (int64_t b = 0; b < g.w.out; ++b, ++out)
        for (int64_t i = 0; i < g.h.size; ++i) {
          const int64_t y = g.h.first(a) + i * g.h.dilation;
          if (y < 0 || y >= g.h.in) continue;
          for (int64_t j = 0; j < g.w.size; ++j) {
            const int64_t x = g.w.first(b) + j * g.w.dilation;
            if (x >= 0 && x < g.w.in) f((n * g.h.in + y) * g.w.in + x, i * g.w.size + j, out);
          }
        }
}

void clear(Tensor& t) {
  if (t.bytes() != 0) std::memset(t.raw(), 0, t.bytes());
}

template <class T>
Kernel forward(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &f = c.input(1);
    const Geometry g = geometry(attrs, x.shape(), f.shape());
    Tensor& y = c.output(0, g.output());
    clear(y);
    const T *in = x.data<T>(), *filter = f.data<T>();
    T* out = y.data<T>();
    const int64_t channels = g.channels, m = g.multiplier;
    vectorised([=, &g] {
      for_taps(g, [=](int64_t from, int64_t tap, int64_t to) {
        const T *p = in + from * channels, *w = filter + tap * channels * m;
        T* q = out + to * channels * m;
        if (m == 1) {
#pragma GCC ivdep
          for (int64_t k = 0; k < channels; ++k) q[k] += p[k] * w[k];
        } else {
          for (int64_t k = 0; k < channels; ++k)
            for (int64_t r = 0; r < m; ++r) q[k * m + r] += p[k] * w[k * m + r];
        }
      });
    });
  };
}

void check_out_backprop(const WindowAttrs& attrs, const Geometry& g, const Shape& dy) {
  check(dy == g.output(), "[", attrs.op, "] out_backprop must have the shape ", g.output(), ": got ", dy);
}

template <class T>
Kernel backward_input(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const auto sizes = int_values(c.input(0));
    const Tensor &f = c.input(1), &dy = c.input(2);
    const Geometry g = geometry(attrs, Shape(sizes.begin(), sizes.end()), f.shape());
    check_out_backprop(attrs, g, dy.shape());
    Tensor& dx = c.output(0, g.input());
    clear(dx);
    const T *grad = dy.data<T>(), *filter = f.data<T>();
    T* out = dx.data<T>();
    const int64_t channels = g.channels, m = g.multiplier;
    vectorised([=, &g] {
      for_taps(g, [=](int64_t from, int64_t tap, int64_t to) {
        const T *q = grad + to * channels * m, *w = filter + tap * channels * m;
        T* p = out + from * channels;
        if (m == 1) {
#pragma GCC ivdep
          for (int64_t k = 0; k < channels; ++k) p[k] += q[k] * w[k];
        } else {
          for (int64_t k = 0; k < channels; ++k)
            for (int64_t r = 0; r < m; ++r) p[k] += q[k * m + r] * w[k * m + r];
        }
      });
    });
  };
}

template <class T>
Kernel backward_filter(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &dy = c.input(2);
    const auto sizes = int_values(c.input(1));
    const Geometry g = geometry(attrs, x.shape(), Shape(sizes.begin(), sizes.end()));
    check_out_backprop(attrs, g, dy.shape());
    Tensor& df = c.output(0, g.filter());
    clear(df);
    const T *in = x.data<T>(), *grad = dy.data<T>();
    T* out = df.data<T>();
    const int64_t channels = g.channels, m = g.multiplier;
    vectorised([=, &g] {
      for_taps(g, [=](int64_t from, int64_t tap, int64_t to) {
        const T *p = in + from * channels, *q = grad + to * channels * m;
        T* w = out + tap * channels * m;
        if (m == 1) {
#pragma GCC ivdep
          for (int64_t k = 0; k < channels; ++k) w[k] += p[k] * q[k];
        } else {
          for (int64_t k = 0; k < channels; ++k)
            for (int64_t r = 0; r < m; ++r) w[k * m + r] += p[k] * q[k * m + r];
        }
      });
    });
  };
}

RF_KERNEL("DepthwiseConv2dNative", forward, float, double)
RF_KERNEL("DepthwiseConv2dNativeBackpropInput", backward_input, float, double)
RF_KERNEL("DepthwiseConv2dNativeBackpropFilter", backward_filter, float, double)

}  // namespace
}  // namespace rf
