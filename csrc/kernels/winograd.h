// Convolutions of 3x3 and 5x5 taps at stride 1 by Winograd's F(4x4, 3x3) and F(2x2, 5x5): 36 multiplications where the
// sums of conv.h make 144 and 100. Both have patches of 6x6 pixels and the same points, so they share all but the maps
// of taps and outputs.
//
// Tiles of outputs are worked on in blocks whose transformed images and products stay in the second cache: patches are
// transformed, the 36 points are 36 products of (tiles x channels in) and (channels in x channels out) on the
// register tiles of tile.h, and the products are transformed back. Tiles of several images share a block.
// A tile's result depends on its patch and the filter alone: not on its block, the batch or the number of threads. The
// gradient of the filter is summed over tiles in order, in blocks that follow from the shapes.
//
// Accuracy in float32, against sums in float64 relative to the largest value (those of conv.h in parentheses), normal
// images and filters:
//   3x3, 16 channels at 32x32, batch 32: y 1.2e-6 (0.5e-6), dx 1.4e-6 (0.6e-6), dw 1.1e-6 (1.0e-6);
//        64 at 8x8: 1.6e-6 (1.1e-6), 2.0e-6 (0.8e-6), 1.1e-6 (0.5e-6);
//        256 at 14x14, batch 4: 3.1e-6 (1.6e-6), 3.1e-6 (1.8e-6), 1.4e-6 (0.4e-6);
//   5x5, 16 channels at 32x32: 0.8e-6 (0.7e-6), 0.8e-6 (1.2e-6), 1.7e-6 (0.8e-6);
//        32 -> 64 at 14x14, batch 64: 1.1e-6 (1.3e-6), 1.4e-6 (1.5e-6), 2.1e-6 (0.5e-6);
//        256 at 14x14, batch 4: 2.2e-6 (3.2e-6), 3.3e-6 (3.4e-6), 1.9e-6 (0.3e-6).
// The usual points 0, +-1, +-2 are five times as far off as 0, +-5/8, +-3/2; no pair of sixteenths is better by more
// than a quarter for 5x5. F(4x4, 5x5) would be 7 times as far off as direct sums.
// What differs otherwise: a value that is not finite reaches all of its tile, as NaN.
//
// Thread-safe: memory is the call's scratch. Sources: those of winograd_transform.h; Barabasz, Anderson, Soodhalter,
// Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution", ACM TOMS 46 (2020).
#pragma once

#include <cstdint>

#include "kernels/conv.h"
#include "kernels/kernel.h"

namespace rf {

// Where Winograd wins over direct sums. Depends on the shapes but never on the batch.
bool worth_winograd(const ConvGeometry& g);

template <class T>
void winograd_forward(Context& c, const ConvGeometry& g, const T* x, const T* filter, T* y);
template <class T>
void winograd_backprop_input(Context& c, const ConvGeometry& g, const T* filter, const T* dy, T* dx);
template <class T>
void winograd_backprop_filter(Context& c, const ConvGeometry& g, const T* x, const T* dy, T* dw);

}  // namespace rf
