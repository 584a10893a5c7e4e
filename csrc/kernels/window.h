// Sliding windows along one axis, shared by convolution and pooling: how padding, strides and dilations
// map output positions to input positions.
//
// Output position o covers inputs o * stride - before + t * dilation for taps t in [0, size); those
// outside [0, in) are padding. Source: the padding rules of TensorFlow's tf.nn.conv2d.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/node.h"

namespace rf {

struct Window {
  int64_t in = 0, size = 1, stride = 1, dilation = 1;
  int64_t before = 0;  // padding in front
  int64_t out = 0;

  int64_t extent() const { return (size - 1) * dilation + 1; }  // inputs from the first tap to the last
  int64_t first(int64_t o) const { return o * stride - before; }
  // The output positions [from, to) whose tap t lies inside the input.
  struct Range {
    int64_t from, to;
  };
  Range inside(int64_t t) const {
    const int64_t shift = before - t * dilation;  // inside: 0 <= o * stride - shift < in
    const int64_t from = std::clamp<int64_t>((shift + stride - 1) / stride, 0, out);
    const int64_t past = in + shift;
    return {from, std::clamp<int64_t>(past > 0 ? (past + stride - 1) / stride : 0, from, out)};
  }
};

// The attrs of an op that slides a window over images, read once.
struct WindowAttrs {
  std::string op;
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t size_h = 0, size_w = 0;  // of `ksize`; 0 where the op has none
  std::string padding;             // "SAME", "VALID" or "EXPLICIT"
  int64_t top = 0, bottom = 0, left = 0, right = 0;  // of EXPLICIT

  Window rows(int64_t in, int64_t size) const;
  Window columns(int64_t in, int64_t size) const;
};

// InvalidArgument where an attr breaks a rule; Unimplemented for a data format other than NHWC and for
// windows that reach over the batch or the channels.
WindowAttrs window_attrs(const Node& node);

}  // namespace rf
