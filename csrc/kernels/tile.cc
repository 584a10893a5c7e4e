#include "kernels/tile.h"

#include <cstring>
#include <utility>

#include "base/simd.h"

namespace rf {
namespace {

// Hides a value from the optimiser, which would otherwise keep an address register for each row and spill them.
template <class X>
RF_ALWAYS_INLINE X opaque(X x) {
  __asm__("" : "+r"(x));
  return x;
}

// Row I of a: four rows share a base register.
template <class T, int I>
RF_ALWAYS_INLINE T element(const char* const* base, int64_t row, int64_t row3) {
  return *reinterpret_cast<const T*>(base[I / 4] + (I % 4 == 3 ? row3 : I % 4 * row));
}

// The first `columns` of each row of `sum` (rows of `width`) go to c: the last panel, seldom run.
template <class T>
__attribute__((noinline)) void store_part(const T* sum, int64_t rows, int64_t width, const Tile<T>& t) {
  if (t.columns == 1) {  // a product with a vector: no loop along the row
    T* c = t.c;
    for (int64_t i = 0; i < rows; ++i, c += t.c_row, sum += width) *c = t.add ? *c + *sum : *sum;
    return;
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < t.columns; ++j) {
      T& c = t.c[i * t.c_row + j];
      c = t.add ? c + sum[i * width + j] : sum[i * width + j];
    }
}

// I runs over the vectors of the tile, row by row.
template <class T, int Lanes, int N, int... I>
RF_ALWAYS_INLINE void run_tile(const Tile<T>& t, std::integer_sequence<int, I...>) {
  using V = typename Vector<T, Lanes>::type;
  constexpr int R = sizeof...(I) / N;
  V sum[sizeof...(I)];
  ((sum[I] = V{}), ...);

  const int64_t row = opaque(t.a_row * int64_t{sizeof(T)}), row3 = opaque(3 * row);
  const int64_t step = opaque(t.a_step * int64_t{sizeof(T)});
  const T* b = t.b;
  const int64_t b_step = t.b_step;
  // where nothing is to be fetched, a line that is there anyway
  const char* ahead = reinterpret_cast<const char*>(t.ahead ? t.ahead : t.b);
  const int64_t ahead_step = opaque(t.ahead_step * int64_t{sizeof(T)});
  int64_t ahead_left = t.ahead ? t.ahead_count : 0;
  for (int64_t s = 0; s < t.segments; ++s) {
    const char* first = reinterpret_cast<const char*>(t.a + t.a_offsets[s]);
    const char* a[] = {first, opaque(first + 4 * row), opaque(first + 8 * row), opaque(first + 12 * row)};
    if (t.b_offsets) b = t.b + t.b_offsets[s];
    for (int64_t p = 0; p < t.length; ++p) {
      V right[N];
      right[0] = *reinterpret_cast<const V*>(b);
      if constexpr (N == 2) right[1] = *reinterpret_cast<const V*>(b + Lanes);
      ((sum[I] += element<T, I / N>(a, row, row3) * right[I % N]), ...);
      a[0] += step;
      if constexpr (R > 4) a[1] += step;
      if constexpr (R > 8) a[2] += step;
      if constexpr (R > 12) a[3] += step;
      if constexpr (N == 2 && Lanes * sizeof(T) == 64) {
        __builtin_prefetch(ahead, 0, 2);
        ahead += --ahead_left > 0 ? ahead_step : 0;
      }
      b += b_step;
    }
  }

  if (t.columns != N * Lanes) {
    alignas(64) T part[sizeof...(I) * Lanes];
    ((*reinterpret_cast<V*>(part + I * Lanes) = sum[I]), ...);
    return store_part(part, R, N * Lanes, t);
  }
  if (t.add) ((sum[I] += *reinterpret_cast<const V*>(t.c + (I / N) * t.c_row + (I % N) * Lanes)), ...);
  ((*reinterpret_cast<V*>(t.c + (I / N) * t.c_row + (I % N) * Lanes) = sum[I]), ...);
}

template <class T, int Lanes, int R, int N>
void tile_baseline(const Tile<T>& t) {
  run_tile<T, Lanes, N>(t, std::make_integer_sequence<int, R * N>{});
}
template <class T, int... R>
constexpr TileSet<T> baseline_set(std::integer_sequence<int, R...>) {
  constexpr int lanes = 16 / sizeof(T);
  return {lanes, {0, 8, 6}, {{}, {nullptr, (R < 8 ? tile_baseline<T, lanes, R < 8 ? R + 1 : 1, 1> : nullptr)...},
                             {nullptr, (R < 6 ? tile_baseline<T, lanes, R < 6 ? R + 1 : 1, 2> : nullptr)...}}};
}

#if defined(__x86_64__)
template <class T, int Lanes, int R, int N>
RF_AVX2 void tile_avx2(const Tile<T>& t) {
  run_tile<T, Lanes, N>(t, std::make_integer_sequence<int, R * N>{});
}
template <class T, int... R>
constexpr TileSet<T> avx2_set(std::integer_sequence<int, R...>) {
  constexpr int lanes = 32 / sizeof(T);
  return {lanes, {0, 12, 6}, {{}, {nullptr, (R < 12 ? tile_avx2<T, lanes, R < 12 ? R + 1 : 1, 1> : nullptr)...},
                              {nullptr, (R < 6 ? tile_avx2<T, lanes, R < 6 ? R + 1 : 1, 2> : nullptr)...}}};
}

template <class T, int Lanes, int R, int N>
RF_AVX512 void tile_avx512(const Tile<T>& t) {
  run_tile<T, Lanes, N>(t, std::make_integer_sequence<int, R * N>{});
}
template <class T, int... R>
constexpr TileSet<T> avx512_set(std::integer_sequence<int, R...>) {
  constexpr int lanes = 64 / sizeof(T);
  return {lanes, {0, 16, 14}, {{}, {nullptr, tile_avx512<T, lanes, R + 1, 1>...},
                               {nullptr, (R < 14 ? tile_avx512<T, lanes, R < 14 ? R + 1 : 1, 2> : nullptr)...}}};
}
#endif

void transpose_square(const float* from, int64_t from_row, float* to, int64_t to_row) {
  using V = Vector<float, 4>::type;
  typedef int Index __attribute__((vector_size(16)));
  const V a = *reinterpret_cast<const V*>(from), b = *reinterpret_cast<const V*>(from + from_row);
  const V c = *reinterpret_cast<const V*>(from + 2 * from_row), d = *reinterpret_cast<const V*>(from + 3 * from_row);
  constexpr Index low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
  const V ab = __builtin_shuffle(a, b, low), cd = __builtin_shuffle(c, d, low);
  const V ab2 = __builtin_shuffle(a, b, high), cd2 = __builtin_shuffle(c, d, high);
  *reinterpret_cast<V*>(to) = __builtin_shuffle(ab, cd, first);
  *reinterpret_cast<V*>(to + to_row) = __builtin_shuffle(ab, cd, second);
  *reinterpret_cast<V*>(to + 2 * to_row) = __builtin_shuffle(ab2, cd2, first);
  *reinterpret_cast<V*>(to + 3 * to_row) = __builtin_shuffle(ab2, cd2, second);
}

void transpose_square(const double* from, int64_t from_row, double* to, int64_t to_row) {
  to[0] = from[0];
  to[1] = from[from_row];
  to[to_row] = from[1];
  to[to_row + 1] = from[from_row + 1];
}

using Rows = std::make_integer_sequence<int, kMaxTileRows>;

}  // namespace

template <class T>
const TileSet<T>& tiles() {
  static constexpr TileSet<T> baseline = baseline_set<T>(Rows{});
#if defined(__x86_64__)
  static constexpr TileSet<T> avx2 = avx2_set<T>(Rows{}), avx512 = avx512_set<T>(Rows{});
  if (isa() == Isa::Avx512) return avx512;
  if (isa() == Isa::Avx2) return avx2;
#endif
  return baseline;
}

bool wide_tiles() { return isa() == Isa::Avx512; }

template <class T>
void transpose(int64_t rows, int64_t columns, const T* from, int64_t from_row, T* to, int64_t to_row) {
  // squares of one vector in registers; strips of 16 columns keep both sides in the nearest cache
  constexpr int lanes = 16 / sizeof(T);
  const int64_t whole_rows = rows / lanes * lanes, whole_columns = columns / lanes * lanes;
  for (int64_t p0 = 0; p0 < whole_columns; p0 += 16) {
    const int64_t p1 = std::min<int64_t>(whole_columns, p0 + 16);
    for (int64_t j = 0; j < whole_rows; j += lanes)
      for (int64_t p = p0; p < p1; p += lanes) transpose_square(from + j * from_row + p, from_row, to + p * to_row + j, to_row);
  }
  for (int64_t j = 0; j < rows; ++j)
    for (int64_t p = j < whole_rows ? whole_columns : 0; p < columns; ++p) to[p * to_row + j] = from[j * from_row + p];
}

template <class T>
void pack_panel(const TileSet<T>& set, int64_t k, int64_t columns, const T* b, int64_t row, int64_t column, T* out) {
  const int64_t padded = set.padded(columns);
  if (column == 1) {
    for (int64_t p = 0; p < k; ++p, b += row, out += padded) {
      std::memcpy(out, b, static_cast<size_t>(columns) * sizeof(T));
      for (int64_t j = columns; j < padded; ++j) out[j] = T(0);
    }
    return;
  }
  if (row == 1) {
    transpose(columns, k, b, column, out, padded);
  } else {
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < columns; ++j) out[p * padded + j] = b[p * row + j * column];
  }
  for (int64_t j = columns; j < padded; ++j)
    for (int64_t p = 0; p < k; ++p) out[p * padded + j] = T(0);
}

template <class T>
void pack_panels(const TileSet<T>& set, int64_t k, int64_t n, const T* b, int64_t row, int64_t column, T* out) {
  for (int64_t j0 = 0; j0 < n; j0 += set.width())
    pack_panel(set, k, std::min<int64_t>(n - j0, set.width()), b + j0 * column, row, column, out + k * j0);
}

template const TileSet<float>& tiles<float>();
template const TileSet<double>& tiles<double>();
template void pack_panel(const TileSet<float>&, int64_t, int64_t, const float*, int64_t, int64_t, float*);
template void pack_panels(const TileSet<float>&, int64_t, int64_t, const float*, int64_t, int64_t, float*);
template void pack_panel(const TileSet<double>&, int64_t, int64_t, const double*, int64_t, int64_t, double*);
template void pack_panels(const TileSet<double>&, int64_t, int64_t, const double*, int64_t, int64_t, double*);

template void transpose(int64_t, int64_t, const float*, int64_t, float*, int64_t);
template void transpose(int64_t, int64_t, const double*, int64_t, double*, int64_t);

}  // namespace rf
