// MaxPool, AvgPool and their gradients: NHWC, vectors along the channels.
//
// Windows are clipped to the image, so padding never enters a maximum or an average. Where several elements of a
// window are its maximum, the first in row-major order receives the gradient.
#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "base/parallel.h"
#include "kernels/kernel.h"
#include "kernels/window.h"

namespace rf {
namespace {

struct Pool {
  int64_t batch, channels;
  Window h, w;

  Shape input() const { return {batch, h.in, w.in, channels}; }
  Shape output() const { return {batch, h.out, w.out, channels}; }
  int64_t in_image() const { return h.in * w.in * channels; }  // elements
  int64_t out_image() const { return h.out * w.out * channels; }
  // 2x2 windows side by side that cover all of the image: most networks pool so.
  bool quarters() const {
    return h.size == 2 && w.size == 2 && h.stride == 2 && w.stride == 2 && h.in == 2 * h.out && w.in == 2 * w.out &&
           h.before == 0 && w.before == 0;
  }
};

Pool pool_geometry(const WindowAttrs& attrs, const Shape& input) {
  check(input.rank() == 4, "[", attrs.op, "] images must be (batch, height, width, channels): got shape ", input);
  return {input[0], input[3], attrs.rows(input[1], attrs.size_h), attrs.columns(input[2], attrs.size_w)};
}

void check_shape(const WindowAttrs& attrs, const char* what, const Shape& got, const Shape& expected) {
  check(got == expected, "[", attrs.op, "] ", what, " must have shape ", expected, ": got ", got);
}

// Calls f(out, n, rows, columns) for every output pixel: `out` its offset, `rows` and `columns` the clipped window.
template <class F>
inline void for_windows(const Pool& g, F&& f) {
  for (int64_t n = 0, out = 0; n < g.batch; ++n)
    for (int64_t i = 0; i < g.h.out; ++i) {
      const int64_t top = g.h.first(i);
      const Window::Range rows{std::max<int64_t>(top, 0), std::min(top + g.h.size, g.h.in)};
      for (int64_t j = 0; j < g.w.out; ++j, out += g.channels) {
        const int64_t left = g.w.first(j);
        f(out, n, rows, Window::Range{std::max<int64_t>(left, 0), std::min(left + g.w.size, g.w.in)});
      }
    }
}

// Calls f(at) for the offset of every pixel of a clipped window, in row-major order.
template <class F>
inline void for_pixels(const Pool& g, int64_t n, Window::Range rows, Window::Range columns, F&& f) {
  for (int64_t a = rows.from; a < rows.to; ++a)
    for (int64_t b = columns.from; b < columns.to; ++b) f(((n * g.h.in + a) * g.w.in + b) * g.channels);
}

// Calls f(part, first image) for stretches of the images, on the intra-op threads.
template <class F>
void for_images(const Pool& g, const F& f) {
  const int64_t grain = 1 + 16384 / (g.input().num_elements() / std::max<int64_t>(g.batch, 1) + 1);
  parallel_for(g.batch, grain, [&](int64_t begin, int64_t end, int) {
    Pool part = g;
    part.batch = end - begin;
    f(part, begin);
  });
}

// The larger of two; not a number if one is.
template <class T>
inline T larger(T a, T b) {
  const T most = a < b ? b : a;  // keeps a NaN in a
  return b != b ? b : most;
}

template <class T>
void max_forward(const Pool& g, const T* __restrict x, T* __restrict y) {
  const int64_t channels = g.channels;
  vectorised([=, &g] {
    if (g.quarters()) {
      const int64_t row = g.w.in * channels;
      for (int64_t p = 0; p < g.batch * g.h.out; ++p)
        for (int64_t j = 0; j < g.w.out; ++j) {
          const T* in = x + 2 * p * row + 2 * j * channels;
          T* out = y + (p * g.w.out + j) * channels;
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) {
            const T a = in[c], b = in[channels + c], d = in[row + c], e = in[row + channels + c];
            out[c] = larger(larger(a, b), larger(d, e));
          }
        }
      return;
    }
    for_windows(g, [=, &g](int64_t out, int64_t n, Window::Range rows, Window::Range columns) {
      T* best = y + out;
      for (int64_t c = 0; c < channels; ++c) best[c] = -std::numeric_limits<T>::infinity();
      for_pixels(g, n, rows, columns, [=](int64_t at) {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) best[c] = larger(best[c], x[at + c]);
      });
    });
  });
}

template <class T>
void max_backward(const Pool& g, const T* __restrict x, const T* __restrict y, const T* __restrict dy, T* __restrict dx,
                  T* __restrict left_over) {
  const int64_t channels = g.channels;
  if (!g.quarters()) std::memset(dx, 0, static_cast<size_t>(g.input().num_elements()) * sizeof(T));
  vectorised([=, &g] {
    if (g.quarters()) {
      const int64_t row = g.w.in * channels;
      for (int64_t p = 0; p < g.batch * g.h.out; ++p)
        for (int64_t j = 0; j < g.w.out; ++j) {
          const int64_t at = 2 * p * row + 2 * j * channels, out = (p * g.w.out + j) * channels;
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) {
            const T most = y[out + c], d = dy[out + c];
            T left = d;  // what no earlier element has taken
            const T a = x[at + c] == most ? left : T(0);
            left = x[at + c] == most ? T(0) : left;
            const T b = x[at + channels + c] == most ? left : T(0);
            left = x[at + channels + c] == most ? T(0) : left;
            const T e = x[at + row + c] == most ? left : T(0);
            left = x[at + row + c] == most ? T(0) : left;
            dx[at + c] = a;
            dx[at + channels + c] = b;
            dx[at + row + c] = e;
            dx[at + row + channels + c] = x[at + row + channels + c] == most ? left : T(0);
          }
        }
      return;
    }
    for_windows(g, [=, &g](int64_t out, int64_t n, Window::Range rows, Window::Range columns) {
      for (int64_t c = 0; c < channels; ++c) left_over[c] = dy[out + c];
      for_pixels(g, n, rows, columns, [=](int64_t at) {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) {
          const T taken = x[at + c] == y[out + c] ? left_over[c] : T(0);
          dx[at + c] += taken;
          left_over[c] = x[at + c] == y[out + c] ? T(0) : left_over[c];
        }
      });
    });
  });
}

template <class T>
void max_pick(const Pool& g, const T* __restrict x, const T* __restrict y, const T* __restrict grad, T* __restrict out) {
  const int64_t channels = g.channels;
  for_windows(g, [=, &g](int64_t to, int64_t n, Window::Range rows, Window::Range columns) {
    for (int64_t c = 0; c < channels; ++c) {
      bool open = true;
      T picked = T(0);
      for_pixels(g, n, rows, columns, [&](int64_t at) {
        if (open && x[at + c] == y[to + c]) {
          picked = grad[at + c];
          open = false;
        }
      });
      out[to + c] = picked;
    }
  });
}

template <class T>
void average_forward(const Pool& g, const T* __restrict x, T* __restrict y) {
  const int64_t channels = g.channels;
  vectorised([=, &g] {
    for_windows(g, [=, &g](int64_t out, int64_t n, Window::Range rows, Window::Range columns) {
      T* sum = y + out;
      for (int64_t c = 0; c < channels; ++c) sum[c] = T(0);
      for_pixels(g, n, rows, columns, [=](int64_t at) {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) sum[c] += x[at + c];
      });
      const T weight = T(1) / static_cast<T>((rows.to - rows.from) * (columns.to - columns.from));
      for (int64_t c = 0; c < channels; ++c) sum[c] *= weight;
    });
  });
}

template <class T>
void average_backward(const Pool& g, const T* __restrict dy, T* __restrict dx) {
  const int64_t channels = g.channels;
  std::memset(dx, 0, static_cast<size_t>(g.input().num_elements()) * sizeof(T));
  vectorised([=, &g] {
    for_windows(g, [=, &g](int64_t out, int64_t n, Window::Range rows, Window::Range columns) {
      const T weight = T(1) / static_cast<T>((rows.to - rows.from) * (columns.to - columns.from));
      for_pixels(g, n, rows, columns, [=](int64_t at) {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) dx[at + c] += dy[out + c] * weight;
      });
    });
  });
}

template <class T>
Kernel max_pool(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor& x = c.input(0);
    const Pool g = pool_geometry(attrs, x.shape());
    const T* in = x.data<T>();
    T* out = c.output(0, g.output()).template data<T>();
    for_images(g, [=](const Pool& p, int64_t n) { max_forward(p, in + n * p.in_image(), out + n * p.out_image()); });
  };
}

template <class T>
Kernel max_pool_grad(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &y = c.input(1), &dy = c.input(2);
    const Pool g = pool_geometry(attrs, x.shape());
    check_shape(attrs, "orig_output", y.shape(), g.output());
    check_shape(attrs, "grad", dy.shape(), g.output());
    const T *in = x.data<T>(), *out = y.data<T>(), *grad = dy.data<T>();
    T* dx = c.output(0, x.shape()).template data<T>();
    for_images(g, [=](const Pool& p, int64_t n) {
      std::vector<T> left_over(static_cast<size_t>(p.channels));
      max_backward(p, in + n * p.in_image(), out + n * p.out_image(), grad + n * p.out_image(), dx + n * p.in_image(),
                   left_over.data());
    });
  };
}

template <class T>
Kernel max_pool_grad_grad(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &y = c.input(1), &grad = c.input(2);
    const Pool g = pool_geometry(attrs, x.shape());
    check_shape(attrs, "orig_output", y.shape(), g.output());
    check_shape(attrs, "grad", grad.shape(), g.input());
    max_pick(g, x.data<T>(), y.data<T>(), grad.data<T>(), c.output(0, g.output()).template data<T>());
  };
}

template <class T>
Kernel avg_pool(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor& x = c.input(0);
    const Pool g = pool_geometry(attrs, x.shape());
    const T* in = x.data<T>();
    T* out = c.output(0, g.output()).template data<T>();
    for_images(g, [=](const Pool& p, int64_t n) { average_forward(p, in + n * p.in_image(), out + n * p.out_image()); });
  };
}

template <class T>
Kernel avg_pool_grad(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const auto sizes = int_values(c.input(0));
    const Tensor& dy = c.input(1);
    const Pool g = pool_geometry(attrs, Shape(sizes.begin(), sizes.end()));
    check_shape(attrs, "grad", dy.shape(), g.output());
    const T* grad = dy.data<T>();
    T* dx = c.output(0, g.input()).template data<T>();
    for_images(g, [=](const Pool& p, int64_t n) { average_backward(p, grad + n * p.out_image(), dx + n * p.in_image()); });
  };
}

}  // namespace

RF_KERNEL("MaxPool", max_pool, float, double)
RF_KERNEL("MaxPoolGrad", max_pool_grad, float, double)
RF_KERNEL("MaxPoolGradGrad", max_pool_grad_grad, float, double)
RF_KERNEL("AvgPool", avg_pool, float, double)
RF_KERNEL("AvgPoolGrad", avg_pool_grad, float, double)

}  // namespace rf
