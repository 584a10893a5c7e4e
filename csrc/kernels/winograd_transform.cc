#include "kernels/winograd_transform.h"

#include <algorithm>

#include "base/simd.h"

namespace rf {
namespace {

// The points are 0, +-a, +-b and infinity. a = 5/8 and b = 3/2 keep the error low for both sizes (winograd.h).
constexpr double kA = 0.625, kB = 1.5, kA2 = kA * kA, kB2 = kB * kB;

// B^T along one axis: row p holds the coefficients of the product of (x - q) over all points q but p. They are exact in
// float32.
template <class T, int Lanes>
struct ImageLine {
  using Element = T;
  using V = typename Vector<T, Lanes>::type;
  static constexpr int lanes = Lanes, in = kWinogradPatch, out = kWinogradPatch;
  RF_ALWAYS_INLINE static void run(const V (&d)[in], V (&u)[out]) {
    constexpr T a = T(kA), b = T(kB), a2 = T(kA2), b2 = T(kB2), product = T(kA2 * kB2), sum = T(kA2 + kB2);
    const V even_a = d[4] - b2 * d[2], odd_a = a * (d[3] - b2 * d[1]);
    const V even_b = d[4] - a2 * d[2], odd_b = b * (d[3] - a2 * d[1]);
    u[0] = product * d[0] - sum * d[2] + d[4];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = product * d[1] - sum * d[3] + d[5];
  }
};

// What a polynomial's coefficient i is multiplied by at the points +-a and +-b, and coefficient 0 at point 0. Scaled:
// over the product of the distances to the other points.
template <class T, int Count, bool Scaled>
struct Factors {
  T a[Count]{}, b[Count]{}, zero = T(Scaled ? 1 / (kA2 * kB2) : 1);
  constexpr Factors() {
    double at_a = Scaled ? 1 / (2 * kA2 * (kA2 - kB2)) : 1, at_b = Scaled ? 1 / (2 * kB2 * (kB2 - kA2)) : 1;
    for (int i = 0; i < Count; ++i, at_a *= kA, at_b *= kB) a[i] = T(at_a), b[i] = T(at_b);
  }
};

// The values of a polynomial of Count coefficients: A for the outputs, and G, which is scaled, for the taps.
template <class T, int Lanes, int Count, bool Scaled>
struct ValuesLine {
  using Element = T;
  using V = typename Vector<T, Lanes>::type;
  static constexpr int lanes = Lanes, in = Count, out = kWinogradPatch;
  static constexpr Factors<T, Count, Scaled> f{};
  RF_ALWAYS_INLINE static void run(const V (&c)[in], V (&v)[out]) {
    V even_a = f.a[0] * c[0], odd_a = f.a[1] * c[1], even_b = f.b[0] * c[0], odd_b = f.b[1] * c[1];
    for (int i = 2; i < Count; i += 2) even_a += f.a[i] * c[i], even_b += f.b[i] * c[i];
    for (int i = 3; i < Count; i += 2) odd_a += f.a[i] * c[i], odd_b += f.b[i] * c[i];
    v[0] = f.zero * c[0];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = c[Count - 1];
  }
};

// Its transpose: A^T and G^T.
template <class T, int Lanes, int Count, bool Scaled>
struct SumsLine {
  using Element = T;
  using V = typename Vector<T, Lanes>::type;
  static constexpr int lanes = Lanes, in = kWinogradPatch, out = Count;
  static constexpr Factors<T, Count, Scaled> f{};
  RF_ALWAYS_INLINE static void run(const V (&v)[in], V (&c)[out]) {
    const V even_a = v[1] + v[2], odd_a = v[1] - v[2], even_b = v[3] + v[4], odd_b = v[3] - v[4];
    c[0] = f.zero * v[0] + f.a[0] * even_a + f.b[0] * even_b;
    for (int i = 1; i < Count; ++i) c[i] = f.a[i] * (i % 2 ? odd_a : even_a) + f.b[i] * (i % 2 ? odd_b : even_b);
    c[Count - 1] += v[5];
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

template <class L>
struct FromPatch {
  using T = typename L::Element;
  using V = typename L::V;
  static void run(const Patch<T>& patch, int64_t channels, T* points, int64_t spread) {
    for_vectors<L::lanes>(channels, [&](int64_t c) {
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

template <class L>
struct ToCrop {
  using T = typename L::Element;
  using V = typename L::V;
  static void run(const T* points, int64_t spread, int64_t channels, const Crop<T>& crop) {
    for_vectors<L::lanes>(channels, [&](int64_t c) {
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

// Between taps and points, either way: rows of L::in or L::out values, `from_step` and `to_step` apart.
template <class L>
struct Square {
  using T = typename L::Element;
  using V = typename L::V;
  static void run(const T* from, int64_t from_step, int64_t channels, T* to, int64_t to_step) {
    for_vectors<L::lanes>(channels, [&](int64_t c) {
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

#define RF_TRANSFORMS(build, T, lanes, taps)                                                                          \
  {                                                                                                                   \
    lanes, build<FromPatch<ImageLine<T, lanes>>, const Patch<T>&, int64_t, T*, int64_t>,                              \
        build<FromPatch<ValuesLine<T, lanes, winograd_tile(taps), false>>, const Patch<T>&, int64_t, T*, int64_t>,    \
        build<ToCrop<SumsLine<T, lanes, winograd_tile(taps), false>>, const T*, int64_t, int64_t, const Crop<T>&>,    \
        build<Square<ValuesLine<T, lanes, taps, true>>, const T*, int64_t, int64_t, T*, int64_t>,                     \
        build<Square<SumsLine<T, lanes, taps, true>>, const T*, int64_t, int64_t, T*, int64_t>                        \
  }

template <class T, int Taps>
const WinogradTransforms<T>* transforms_of(int64_t channels) {
  static constexpr int bytes = sizeof(T);
  static constexpr WinogradTransforms<T> narrow = RF_TRANSFORMS(baseline, T, 16 / bytes, Taps);
#if defined(__x86_64__)
  static constexpr WinogradTransforms<T> middle = RF_TRANSFORMS(avx2, T, 32 / bytes, Taps),
                                         wide = RF_TRANSFORMS(avx512, T, 64 / bytes, Taps);
  if (isa() >= Isa::Avx512 && channels >= wide.lanes) return &wide;
  if (isa() >= Isa::Avx2 && channels >= middle.lanes) return &middle;
#endif
  return channels >= narrow.lanes ? &narrow : nullptr;
}

}  // namespace

template <class T>
const WinogradTransforms<T>* winograd_transforms(int taps, int64_t channels) {
  return taps == 3 ? transforms_of<T, 3>(channels) : transforms_of<T, 5>(channels);
}

template const WinogradTransforms<float>* winograd_transforms(int, int64_t);
template const WinogradTransforms<double>* winograd_transforms(int, int64_t);

}  // namespace rf
