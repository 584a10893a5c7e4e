#include "kernels/depthwise_rows.h"

#include <algorithm>

#include "base/simd.h"

namespace rf {
namespace {

// Sums kept in registers: of neighbouring positions, which share the filter, and of taps, which share the gradient.
constexpr int kPositions = 8, kTaps = 9;

template <class T, int Lanes>
struct Loops {
  using V = typename Vector<T, Lanes>::type;
  static const V& at(const T* p) { return *reinterpret_cast<const V*>(p); }
  static V& at(T* p) { return *reinterpret_cast<V*>(p); }

  // The positions that every tap meets.
  static void inside(const RowTap* taps, int64_t count, int64_t& first, int64_t& last) {
    for (int64_t t = 0; t < count; ++t) {
      first = std::max(first, taps[t].first);
      last = std::min(last, taps[t].last);
    }
    last = std::max(first, last);
  }

  // The first channel of each vector: the last vector ends with the channels and may overlap the one before.
  template <class F>
  static void for_vectors(int64_t channels, const F& f) {
    for (int64_t c = 0; c < channels; c += Lanes) f(std::min<int64_t>(c, channels - Lanes));
  }

  // Positions b to b + N, all of which every tap meets.
  template <int N>
  static void sum(const RowSums<T>& row, int64_t b) {
    for_vectors(row.channels, [&](int64_t c) {
      const T* const source = row.source + b * row.step + c;
      V sums[N];
      for (int i = 0; i < N; ++i) sums[i] = V{};
      for (int64_t t = 0; t < row.count; ++t) {
        const T* from = source + row.taps[t].from;
        const V weights = at(row.filter + row.taps[t].filter + c);
        for (int i = 0; i < N; ++i) sums[i] += at(from + i * row.step) * weights;
      }
      for (int i = 0; i < N; ++i) at(row.out + (b + i) * row.out_step + c) = sums[i];
    });
  }

  // Positions [first, last), all of which every tap meets, in groups whose sizes differ by one at most.
  static void sum_all(const RowSums<T>& row, int64_t first, int64_t last) {
    for (int64_t groups = (last - first + kPositions - 1) / kPositions; groups > 0; --groups) {
      const int64_t now = (last - first + groups - 1) / groups;
      switch (now) {
        case 8: sum<8>(row, first); break;
        case 7: sum<7>(row, first); break;
        case 6: sum<6>(row, first); break;
        case 5: sum<5>(row, first); break;
        case 4: sum<4>(row, first); break;
        case 3: sum<3>(row, first); break;
        case 2: sum<2>(row, first); break;
        default: sum<1>(row, first);
      }
      first += now;
    }
  }

  static void sum_some(const RowSums<T>& row, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b)
      for_vectors(row.channels, [&](int64_t c) {
        V sum{};
        for (int64_t t = 0; t < row.count; ++t) {
          const RowTap& tap = row.taps[t];
          if (tap.first <= b && b < tap.last)
            sum += at(row.source + tap.from + b * row.step + c) * at(row.filter + tap.filter + c);
        }
        at(row.out + b * row.out_step + c) = sum;
      });
  }

  struct Sums {
    static void run(const RowSums<T>& row) {
      int64_t first = 0, last = row.positions;
      inside(row.taps, row.count, first, last);
      sum_some(row, 0, first);
      sum_all(row, first, last);
      sum_some(row, last, row.positions);
    }
  };

  // N taps from `taps` on; channels from `start` on are added, where c <= start.
  template <int N>
  static void add(const RowGradient<T>& row, const RowTap* taps, int64_t c, int64_t start) {
    int64_t first = 0, last = taps[0].last;
    inside(taps, N, first, last);
    const T* from[N];
    V sums[N];
    for (int i = 0; i < N; ++i) {
      from[i] = row.source + taps[i].from + c;
      sums[i] = V{};
    }
    const T* const gradient = row.gradient + c;
    for (int64_t b = first; b < last; ++b) {
      const V g = at(gradient + b * row.channels);
      for (int i = 0; i < N; ++i) sums[i] += at(from[i] + b * row.step) * g;
    }
    for (int i = 0; i < N; ++i) {
      const auto add_some = [&](int64_t b, int64_t end) {
        for (; b < end; ++b) sums[i] += at(from[i] + b * row.step) * at(gradient + b * row.channels);
      };
      add_some(taps[i].first, std::min(first, taps[i].last));
      add_some(std::max(last, taps[i].first), taps[i].last);
      T part[Lanes];
      at(part) = sums[i];
      T* const out = row.out + taps[i].filter + c;
      if (c == start)
        at(out) += sums[i];
      else
        for (int64_t l = start - c; l < Lanes; ++l) out[l] += part[l];
    }
  }

  struct Gradient {
    static void run(const RowGradient<T>& row) {
      for (int64_t start = 0; start < row.channels; start += Lanes) {
        const int64_t c = std::min<int64_t>(start, row.channels - Lanes);
        int64_t t = 0;
        for (; t + kTaps <= row.count; t += kTaps) add<kTaps>(row, row.taps + t, c, start);
        for (; t + kTaps / 3 <= row.count; t += kTaps / 3) add<kTaps / 3>(row, row.taps + t, c, start);
        for (; t < row.count; ++t) add<1>(row, row.taps + t, c, start);
      }
    }
  };
};

template <class F, class Row>
__attribute__((flatten)) void baseline(const Row& row) {
  F::run(row);
}
#if defined(__x86_64__)
template <class F, class Row>
RF_AVX2 __attribute__((flatten)) void avx2(const Row& row) {
  F::run(row);
}
template <class F, class Row>
RF_AVX512 __attribute__((flatten)) void avx512(const Row& row) {
  F::run(row);
}
#endif

#define RF_ROWS(build, T, lanes) \
  {lanes, build<typename Loops<T, lanes>::Sums, RowSums<T>>, build<typename Loops<T, lanes>::Gradient, RowGradient<T>>}

}  // namespace

template <class T>
const DepthwiseRows<T>& depthwise_rows(int64_t channels) {
  static constexpr int bytes = sizeof(T);
  static constexpr DepthwiseRows<T> single = RF_ROWS(baseline, T, 1), narrow = RF_ROWS(baseline, T, 16 / bytes);
#if defined(__x86_64__)
  static constexpr DepthwiseRows<T> middle = RF_ROWS(avx2, T, 32 / bytes), wide = RF_ROWS(avx512, T, 64 / bytes);
  if (isa() >= Isa::Avx512 && channels >= wide.lanes) return wide;
  if (isa() >= Isa::Avx2 && channels >= middle.lanes) return middle;
#endif
  return channels >= narrow.lanes ? narrow : single;
}

template const DepthwiseRows<float>& depthwise_rows(int64_t);
template const DepthwiseRows<double>& depthwise_rows(int64_t);

}  // namespace rf
