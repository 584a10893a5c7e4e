// The inner loops of depthwise convolutions: one row of an image at a time, vectors along the channels.
//
// Compiled for baseline, AVX2 and AVX-512; one table of functions for each. Pure functions, thread-safe.
#pragma once

#include <cstdint>

namespace rf {

// A tap of the filter: position b, first <= b < last, of a row meets source[from + b * step + channel] with the filter's
// elements filter + channel.
struct RowTap {
  int64_t from, filter, first, last;
};

// out[b * out_step + c] = sum over the taps of source * filter, in their order, for b < positions.
template <class T>
struct RowSums {
  const RowTap* taps = nullptr;
  int64_t count = 0, channels = 0;
  const T *source = nullptr, *filter = nullptr;
  int64_t step = 0;
  T* out = nullptr;
  int64_t out_step = 0, positions = 0;
};

// out[tap.filter + c] += sum over b of source * gradient[b * channels + c], for every tap and c.
template <class T>
struct RowGradient {
  const RowTap* taps = nullptr;
  int64_t count = 0, channels = 0;
  const T *source = nullptr, *gradient = nullptr;
  int64_t step = 0;
  T* out = nullptr;
};

template <class T>
struct DepthwiseRows {
  int64_t lanes;  // at most as many as there are channels
  void (*sums)(const RowSums<T>&);
  void (*gradient)(const RowGradient<T>&);
};

// The widest loops for this processor and so many channels.
template <class T>
const DepthwiseRows<T>& depthwise_rows(int64_t channels);

}  // namespace rf
