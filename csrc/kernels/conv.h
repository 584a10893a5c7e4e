// What the three convolution kernels share: geometry, zero-padded frames, and the pass over an image that
// forward and backward-to-input have in common.
//
// No patch matrix is ever built: the rows of a tile are patches of a frame, an image with its padding
// written out, which consist of contiguous segments (filter width x channels). Everything is per call;
// thread-safe. Layouts: images NHWC, filters HWIO.
#pragma once

#include <cstdint>
#include <vector>

#include "base/shape.h"
#include "kernels/tile.h"
#include "kernels/window.h"

namespace rf {

struct ConvGeometry {
  int64_t batch = 0, in_channels = 0, out_channels = 0;
  Window h, w;

  bool empty() const { return batch * h.out * w.out * out_channels == 0; }
  // A plain product of pixels and channels.
  bool pointwise() const;
  Shape input() const { return {batch, h.in, w.in, in_channels}; }
  Shape filter() const { return {h.size, w.size, in_channels, out_channels}; }
  Shape output() const { return {batch, h.out, w.out, out_channels}; }
};

// InvalidArgument where the shapes do not fit each other.
ConvGeometry conv_geometry(const WindowAttrs& attrs, const Shape& input, const Shape& filter);
// InvalidArgument unless the gradient of the output has the shape that follows from the rest.
void check_out_backprop(const WindowAttrs& attrs, const ConvGeometry& geometry, const Shape& out_backprop);

// A window on an image: rows from `top` above the image, columns from `left` of it (negative: inside).
// Columns outside the image are zero; rows outside it are never read, so they hold anything.
struct Frame {
  int64_t height = 0, width = 0, channels = 0;  // of the image
  int64_t top = 0, left = 0;
  int64_t columns = 0;                          // of the frame

  // The columns of the frame are part of the image, so it need not be copied.
  bool in_place() const { return left <= 0 && columns - left <= width; }
  int64_t row() const { return (in_place() ? width : columns) * channels; }  // elements from row to row
  int64_t image() const { return height * width * channels; }
};

// Where frame row `from` of the image is; rows [from, to) are readable: in place, or copied to `memory`
// ((to - from) * frame.row() elements).
template <class T>
const T* frame_rows(const Frame& frame, const T* image, int64_t from, int64_t to, T* memory);

// Output positions with the same set of taps: all of a convolution; one residue modulo the strides backwards.
template <class T>
struct Phase {
  std::vector<int64_t> taps;     // the frame rows that row 0 reads, ascending
  std::vector<int64_t> offsets;  // in frame elements, one for each segment of k: the same number for each of `taps`
  int64_t length = 0;            // of a segment
  const T* filters = nullptr;    // packed panels of (offsets x length) x channels
  int64_t rows = 0, columns = 0; // output positions of this phase
  int64_t first_row = 0, first_column = 0;
};

// out[i, j] = sum over taps of frame[i * step + tap] * filter[tap], for every phase.
template <class T>
struct Pass {
  int64_t batch = 0;
  Frame frame;
  int64_t step_h = 1, step_w = 1;  // frame positions from one output position of a phase to the next
  int64_t span = 1;                // frame rows that an output row reads
  int64_t out_height = 0, out_width = 0, out_channels = 0;
  int64_t out_step_h = 1, out_step_w = 1;  // output positions from one of a phase to the next
  std::vector<Phase<T>> phases;

  int64_t band() const;            // output rows worked on at a time: their frame stays in the second cache
  int64_t memory() const;          // elements that run_pass needs for each intra-op thread
};

template <class T>
void run_pass(const TileSet<T>& set, const Pass<T>& pass, const T* source, T* out, T* memory);

}  // namespace rf
