#include "kernels/winograd_transform.h"

#include <algorithm>

#include "base/simd.h"

namespace rf {
namespace {

// One line of a map: the points are 0, +-a, +-b and infinity. a = 5/8 and b = 3/2 keep the error low (winograd.h); all
// products of theirs below are exact in float32.
template <class T>
struct Points {
  static constexpr T a = T(0.625), b = T(1.5), a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;
  // 1 over the product of the distances to the other points
  static constexpr T n0 = T(1 / (0.390625 * 2.25)), na = T(1 / (2 * 0.390625 * (0.390625 - 2.25))),
                     nb = T(1 / (2 * 2.25 * (2.25 - 0.390625)));
};

// B^T: row p holds the coefficients of the product of (x - q) over all points q but p.
template <class T, int Lanes>
struct ImageLine {
  using V = typename Vector<T, Lanes>::type;
  using P = Points<T>;
  static constexpr int in = 6, out = 6;
  RF_ALWAYS_INLINE static void run(const V (&d)[6], V (&u)[6]) {
    const V even_a = d[4] - P::b2 * d[2], odd_a = P::a * (d[3] - P::b2 * d[1]);
    const V even_b = d[4] - P::a2 * d[2], odd_b = P::b * (d[3] - P::a2 * d[1]);
    u[0] = (P::a2 * P::b2) * d[0] - (P::a2 + P::b2) * d[2] + d[4];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = (P::a2 * P::b2) * d[1] - (P::a2 + P::b2) * d[3] + d[5];
  }
};

// A^T: powers of the points.
template <class T, int Lanes>
struct OutputLine {
  using V = typename Vector<T, Lanes>::type;
  using P = Points<T>;
  static constexpr int in = 6, out = 4;
  RF_ALWAYS_INLINE static void run(const V (&m)[6], V (&y)[4]) {
    const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + even_a + even_b;
    y[1] = P::a * odd_a + P::b * odd_b;
    y[2] = P::a2 * even_a + P::b2 * even_b;
    y[3] = P::a3 * odd_a + P::b3 * odd_b + m[5];
  }
};

// A.
template <class T, int Lanes>
struct OutBackpropLine {
  using V = typename Vector<T, Lanes>::type;
  using P = Points<T>;
  static constexpr int in = 4, out = 6;
  RF_ALWAYS_INLINE static void run(const V (&y)[4], V (&m)[6]) {
    const V even_a = y[0] + P::a2 * y[2], odd_a = P::a * y[1] + P::a3 * y[3];
    const V even_b = y[0] + P::b2 * y[2], odd_b = P::b * y[1] + P::b3 * y[3];
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
  }
};

// G.
template <class T, int Lanes>
struct FilterLine {
  using V = typename Vector<T, Lanes>::type;
  using P = Points<T>;
  static constexpr int in = 3, out = 6;
  RF_ALWAYS_INLINE static void run(const V (&g)[3], V (&v)[6]) {
    const V even_a = P::na * g[0] + (P::na * P::a2) * g[2], odd_a = (P::na * P::a) * g[1];
    const V even_b = P::nb * g[0] + (P::nb * P::b2) * g[2], odd_b = (P::nb * P::b) * g[1];
    v[0] = P::n0 * g[0];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = g[2];
  }
};

// G^T.
template <class T, int Lanes>
struct FilterBackpropLine {
  using V = typename Vector<T, Lanes>::type;
  using P = Points<T>;
  static constexpr int in = 6, out = 3;
  RF_ALWAYS_INLINE static void run(const V (&v)[6], V (&g)[3]) {
    const V even_a = v[1] + v[2], even_b = v[3] + v[4];
    g[0] = P::n0 * v[0] + P::na * even_a + P::nb * even_b;
    g[1] = (P::na * P::a) * (v[1] - v[2]) + (P::nb * P::b) * (v[3] - v[4]);
    g[2] = (P::na * P::a2) * even_a + (P::nb * P::b2) * even_b + v[5];
  }
};

// Line along both axes: columns as they are loaded, then rows as they are stored.
template <class Line, class Load, class Store>
RF_ALWAYS_INLINE void along_both(const Load& load, const Store& store) {
  using V = typename Line::V;
  V middle[Line::out][Line::in];
  for (int j = 0; j < Line::in; ++j) {
    V from[Line::in], to[Line::out];
    load(j, from);
    Line::run(from, to);
    for (int i = 0; i < Line::out; ++i) middle[i][j] = to[i];
  }
  for (int i = 0; i < Line::out; ++i) {
    V to[Line::out];
    Line::run(middle[i], to);
    store(i, to);
  }
}

// The first channel of each vector; the last vector ends with the channels and may overlap the one before.
template <int Lanes, class F>
RF_ALWAYS_INLINE void for_vectors(int64_t channels, const F& f) {
  for (int64_t c = 0; c < channels; c += Lanes) f(std::min<int64_t>(c, channels - Lanes));
}

template <template <class, int> class Line, class T, int Lanes>
struct FromPatch {
  static void run(const Patch<T>& patch, int64_t channels, T* points, int64_t spread) {
    using V = typename Vector<T, Lanes>::type;
    using L = Line<T, Lanes>;
    for_vectors<Lanes>(channels, [&](int64_t c) {
      along_both<L>(
          [&](int j, V (&column)[L::in]) {
            const bool inside = patch.from <= j && j < patch.to;
            for (int i = 0; i < L::in; ++i)
              column[i] = inside ? *reinterpret_cast<const V*>(patch.rows[i] + j * patch.pixel + c) : V{};
          },
          [&](int i, const V (&row)[L::out]) {
            for (int j = 0; j < L::out; ++j) *reinterpret_cast<V*>(points + (i * L::out + j) * spread + c) = row[j];
          });
    });
  }
};

template <class T, int Lanes>
struct ToCrop {
  static void run(const T* points, int64_t spread, int64_t channels, const Crop<T>& crop) {
    using V = typename Vector<T, Lanes>::type;
    using L = OutputLine<T, Lanes>;
    for_vectors<Lanes>(channels, [&](int64_t c) {
      along_both<L>(
          [&](int j, V (&column)[L::in]) {
            for (int i = 0; i < L::in; ++i)
              column[i] = *reinterpret_cast<const V*>(points + (i * L::in + j) * spread + c);
          },
          [&](int i, const V (&row)[L::out]) {
            if (i >= crop.rows) return;
            for (int j = 0; j < L::out; ++j)
              if (j < crop.columns) *reinterpret_cast<V*>(crop.first + i * crop.row + j * crop.pixel + c) = row[j];
          });
    });
  }
};

// Between 3x3 taps and points, either way: rows of L::in or L::out values, `from_step` and `to_step` apart.
template <template <class, int> class Line, class T, int Lanes>
struct Square {
  static void run(const T* from, int64_t from_step, int64_t channels, T* to, int64_t to_step) {
    using V = typename Vector<T, Lanes>::type;
    using L = Line<T, Lanes>;
    for_vectors<Lanes>(channels, [&](int64_t c) {
      along_both<L>(
          [&](int j, V (&column)[L::in]) {
            for (int i = 0; i < L::in; ++i)
              column[i] = *reinterpret_cast<const V*>(from + (i * L::in + j) * from_step + c);
          },
          [&](int i, const V (&row)[L::out]) {
            for (int j = 0; j < L::out; ++j) *reinterpret_cast<V*>(to + (i * L::out + j) * to_step + c) = row[j];
          });
    });
  }
};

template <class F, class... Args>
__attribute__((flatten)) void baseline(Args... args) {
  F::run(args...);
}
#if defined(__x86_64__)
template <class F, class... Args>
RF_AVX2 __attribute__((flatten)) void avx2(Args... args) {
  F::run(args...);
}
template <class F, class... Args>
RF_AVX512 __attribute__((flatten)) void avx512(Args... args) {
  F::run(args...);
}
#endif

#define RF_TRANSFORMS(build, T, lanes)                                                                      \
  {                                                                                                         \
    lanes, build<FromPatch<ImageLine, T, lanes>, const Patch<T>&, int64_t, T*, int64_t>,                    \
        build<FromPatch<OutBackpropLine, T, lanes>, const Patch<T>&, int64_t, T*, int64_t>,                 \
        build<ToCrop<T, lanes>, const T*, int64_t, int64_t, const Crop<T>&>,                                \
        build<Square<FilterLine, T, lanes>, const T*, int64_t, int64_t, T*, int64_t>,                       \
        build<Square<FilterBackpropLine, T, lanes>, const T*, int64_t, int64_t, T*, int64_t>                \
  }

}  // namespace

template <class T>
const WinogradTransforms<T>* winograd_transforms(int64_t channels) {
  static constexpr int bytes = sizeof(T);
  static constexpr WinogradTransforms<T> narrow = RF_TRANSFORMS(baseline, T, 16 / bytes);
#if defined(__x86_64__)
  static constexpr WinogradTransforms<T> middle = RF_TRANSFORMS(avx2, T, 32 / bytes),
                                         wide = RF_TRANSFORMS(avx512, T, 64 / bytes);
  if (isa() >= Isa::Avx512 && channels >= wide.lanes) return &wide;
  if (isa() >= Isa::Avx2 && channels >= middle.lanes) return &middle;
#endif
  return channels >= narrow.lanes ? &narrow : nullptr;
}

template const WinogradTransforms<float>* winograd_transforms(int64_t);
template const WinogradTransforms<double>* winograd_transforms(int64_t);

}  // namespace rf
