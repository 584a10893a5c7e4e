// Loops for elementwise formulas, and the kernels made of a formula and a loop.
//
// In place is safe everywhere: an output may share its memory with an input of the same size and dtype, hence of the
// same shape, so element i is read (in the same loop iteration) before it is written. `ivdep` tells the compiler so;
// without it, exact aliasing sends its run-time overlap test to the scalar loop.
#pragma once

#include <cstring>
#include <type_traits>

#include "base/parallel.h"
#include "kernels/broadcast.h"
#include "kernels/formulas.h"
#include "kernels/kernel.h"

namespace rf {

// Runs a loop over T: reals on the widest vector unit, integers as compiled for the baseline (shorter build).
template <class T, class F>
inline void run_loop(F&& loop) {
  if constexpr (std::is_floating_point_v<T>)
    vectorised(loop);
  else
    loop();
}

// Elements from which on another thread pays.
constexpr int64_t kParallelGrain = 65536;

template <class F, class T, class R>
void map_unary(const F& f, const T* x, R* y, int64_t n) {
  parallel_for(n, kParallelGrain, [=](int64_t begin, int64_t end, int) {
    run_loop<T>([=] {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) y[i] = f(x[i]);
    });
  });
}

// rows x columns of f(a, b); an operand steps by 1 or 0 along a row, by any amount from row to row.
template <class F, class T, class R>
void map_slab(const F& f, const T* a, const T* b, R* y, const Slab& slab) {
  const int64_t rows = slab.rows, n = slab.columns, a_row = slab.row_step[0], b_row = slab.row_step[1];
  const int kind = slab.column_step[0] == 0 ? 1 : slab.column_step[1] == 0 ? 2 : 0;
  run_loop<T>([=] {
    if (kind == 0) {
      for (int64_t r = 0; r < rows; ++r) {
        const T *p = a + r * a_row, *q = b + r * b_row;
        R* z = y + r * n;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) z[i] = f(p[i], q[i]);
      }
    } else if (kind == 1) {
      for (int64_t r = 0; r < rows; ++r) {
        const T p = a[r * a_row];
        const T* q = b + r * b_row;
        R* z = y + r * n;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) z[i] = f(p, q[i]);
      }
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        const T* p = a + r * a_row;
        const T q = b[r * b_row];
        R* z = y + r * n;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) z[i] = f(p[i], q);
      }
    }
  });
}

template <class F, class T, class R>
void map_binary(const F& f, const T* a, const T* b, R* y, const Slab& slab) {
  const bool by_rows = slab.rows > 1;
  const int64_t grain = by_rows ? 1 + kParallelGrain / (slab.columns + 1) : kParallelGrain;
  parallel_for(by_rows ? slab.rows : slab.columns, grain, [&](int64_t begin, int64_t end, int) {
    Slab part = slab;
    (by_rows ? part.rows : part.columns) = end - begin;
    const int64_t* step = by_rows ? slab.row_step : slab.column_step;
    map_slab(f, a + begin * step[0], b + begin * step[1], y + begin * (by_rows ? slab.columns : 1), part);
  });
}

// Short rows (a bias of 10, say) waste the vector unit: repeat the row operand to a few hundred elements and take
// as many matrix rows at once. `k` is the operand that repeats from row to row.
template <class F, class T, class R>
bool map_short_rows(const F& f, const T* a, const T* b, R* y, const Slab& slab) {
  constexpr int64_t kCapacity = 2048 / static_cast<int64_t>(sizeof(T));
  const int64_t n = slab.columns, copies = kCapacity / n;
  if (copies < 4 || slab.rows < 2 * copies || !slab.column_step[0] || !slab.column_step[1]) return false;
  const int k = slab.row_step[0] == 0 ? 0 : 1;
  if (slab.row_step[k] != 0 || slab.row_step[1 - k] != n) return false;
  T repeated[kCapacity];
  const T* row = k == 0 ? a : b;
  for (int64_t c = 0; c < copies; ++c) std::memcpy(repeated + c * n, row, static_cast<size_t>(n) * sizeof(T));
  Slab wide = slab;
  wide.rows = slab.rows / copies;
  wide.columns = n * copies;
  wide.row_step[1 - k] = wide.columns;
  map_binary(f, k == 0 ? repeated : a, k == 1 ? repeated : b, y, wide);
  const int64_t done = wide.rows * wide.columns;
  Slab rest = slab;
  rest.rows = slab.rows - wide.rows * copies;
  map_binary(f, k == 0 ? a : a + done, k == 1 ? b : b + done, y + done, rest);
  return true;
}

template <class R, class F, class T>
void broadcast_binary(Context& c, const F& f, const Tensor& x, const Tensor& y) {
  const Shape* shapes[] = {&x.shape(), &y.shape()};
  if (x.shape() == y.shape()) {
    Tensor& z = c.output(0, x.shape());
    Slab flat;
    flat.columns = z.num_elements();
    flat.column_step[0] = flat.column_step[1] = 1;
    return map_binary(f, x.data<T>(), y.data<T>(), z.data<R>(), flat);
  }
  const Broadcast b = broadcast(c.node().op, shapes, 2);
  Tensor& z = c.output(0, b.shape);
  if (z.num_elements() == 0) return;
  const T *xs = x.data<T>(), *ys = y.data<T>();
  R* zs = z.data<R>();
  const Slab slab = inner_slab(b, 2);
  for_each_slab(b, 2, [&](const int64_t* offset, int64_t out) {
    const T *p = xs + offset[0], *q = ys + offset[1];
    if (!map_short_rows(f, p, q, zs + out, slab)) map_binary(f, p, q, zs + out, slab);
  });
}

// ---- kernels of a formula ----

template <class F>
struct Unary {
  template <class T>
  static Kernel make(const Node&) {
    return [](Context& c) {
      const Tensor& x = c.input(0);
      Tensor& y = c.output(0, x.shape());
      using R = decltype(F()(T()));
      map_unary(F(), x.data<T>(), y.data<R>(), x.num_elements());
    };
  }
};

template <class F>
struct Binary {
  template <class T>
  static Kernel make(const Node&) {
    return [](Context& c) {
      using R = decltype(F()(T(), T()));
      broadcast_binary<R, F, T>(c, F(), c.input(0), c.input(1));
    };
  }
};

// Two inputs of one shape, no broadcasting: the gradients.
template <class F, class T>
void same_shape_binary(Context& c, const F& f) {
  const Tensor &x = c.input(0), &y = c.input(1);
  check(x.shape() == y.shape(), "[", c.node().op, "] both inputs must have the same shape: got ", x.shape(), " and ",
        y.shape());
  Tensor& z = c.output(0, x.shape());
  const T *a = x.data<T>(), *b = y.data<T>();
  T* out = z.data<T>();
  const int64_t n = x.num_elements();
  parallel_for(n, kParallelGrain, [=](int64_t begin, int64_t end, int) {
    run_loop<T>([=] {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) out[i] = f(a[i], b[i]);
    });
  });
}

template <class F>
struct Gradient {
  template <class T>
  static Kernel make(const Node&) {
    return [](Context& c) { same_shape_binary<F, T>(c, F()); };
  }
};

}  // namespace rf
