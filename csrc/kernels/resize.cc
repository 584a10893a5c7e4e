// ResizeNearestNeighbor and its gradient, NHWC.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/index.h"

namespace rf {
namespace {

struct Rule {
  std::string op;
  bool align_corners, half_pixel_centers;

  explicit Rule(const Node& node)
      : op(node.op), align_corners(node.attr<bool>("align_corners", false)),
        half_pixel_centers(node.attr<bool>("half_pixel_centers", false)) {
    check(!align_corners || !half_pixel_centers, "[", op, "] align_corners and half_pixel_centers exclude each other");
  }

  // For each of `wanted` positions, which of the n original ones is nearest; in float, as TensorFlow does.
  std::vector<int64_t> sources(int64_t n, int64_t wanted) const {
    const float scale = align_corners && wanted > 1 ? static_cast<float>(n - 1) / static_cast<float>(wanted - 1)
                                                    : static_cast<float>(n) / static_cast<float>(wanted);
    std::vector<int64_t> from;
    for (int64_t i = 0; i < wanted; ++i) {
      const float at = (static_cast<float>(i) + (half_pixel_centers ? 0.5f : 0.0f)) * scale;
      const float nearest = align_corners ? std::floor(at + 0.5f) : std::floor(at);
      from.push_back(std::clamp<int64_t>(static_cast<int64_t>(nearest), 0, n - 1));
    }
    return from;
  }

  // (height, width) of input 1, once both inputs are found to fit.
  std::vector<int64_t> size(Context& c) const {
    const Shape& s = c.input(0).shape();
    const auto wanted = int_values(c.input(1));
    check(s.rank() == 4 && wanted.size() == 2 && wanted[0] > 0 && wanted[1] > 0 && s[1] > 0 && s[2] > 0, "[", op,
          "] images must be (batch, height, width, channels), size two numbers >= 1: got shapes ", s, " and ",
          c.input(1).shape());
    return wanted;
  }
};

template <class T>
Kernel resize(const Node& node) {
  return [rule = Rule(node)](Context& c) {
    const auto size = rule.size(c);
    const Shape& s = c.input(0).shape();
    const auto rows = rule.sources(s[1], size[0]), columns = rule.sources(s[2], size[1]);
    const T* in = c.input(0).data<T>();
    T* out = c.output(0, {s[0], size[0], size[1], s[3]}).template data<T>();
    const int64_t channels = s[3];
    for (int64_t n = 0; n < s[0]; ++n)
      for (int64_t y : rows)
        for (int64_t x : columns) {
          std::memcpy(out, in + ((n * s[1] + y) * s[2] + x) * channels, static_cast<size_t>(channels) * sizeof(T));
          out += channels;
        }
  };
}

template <class T>
Kernel resize_grad(const Node& node) {
  return [rule = Rule(node)](Context& c) {
    const auto size = rule.size(c);
    const Shape& s = c.input(0).shape();
    const auto rows = rule.sources(size[0], s[1]), columns = rule.sources(size[1], s[2]);
    const T* grad = c.input(0).data<T>();
    Tensor& y = c.output(0, {s[0], size[0], size[1], s[3]});
    if (y.bytes() != 0) std::memset(y.raw(), 0, y.bytes());
    T* out = y.data<T>();
    const int64_t channels = s[3];
    for (int64_t n = 0; n < s[0]; ++n)
      for (int64_t row : rows)
        for (int64_t column : columns) {
          add_row(out + ((n * size[0] + row) * size[1] + column) * channels, grad, channels);
          grad += channels;
        }
  };
}

RF_KERNEL("ResizeNearestNeighbor", resize, float, double, int32_t, int64_t)
RF_KERNEL("ResizeNearestNeighborGrad", resize_grad, float, double, int32_t, int64_t)

}  // namespace
}  // namespace rf
