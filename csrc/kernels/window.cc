#include "kernels/window.h"

#include <algorithm>

namespace rf {
namespace {

Window window(const WindowAttrs& attrs, const char* axis, int64_t in, int64_t size, int64_t stride, int64_t dilation,
              int64_t before, int64_t after) {
  Window w{in, size, stride, dilation, 0, 0};
  check(size > 0, "[", attrs.op, "] a window must cover at least one element: its ", axis, " is ", size);
  if (attrs.padding == "SAME") {
    w.out = (in + stride - 1) / stride;
    w.before = std::max<int64_t>((w.out - 1) * stride + w.extent() - in, 0) / 2;
    return w;
  }
  w.before = before;
  const int64_t room = in + before + after - w.extent();
  check(room >= 0, "[", attrs.op, "] the window does not fit into the padded input: its ", axis, " is ", w.extent(),
        ", the input's ", in + before + after, ". Fix: pad more (padding='SAME') or use a smaller window");
  w.out = room / stride + 1;
  return w;
}

}  // namespace

Window WindowAttrs::rows(int64_t in, int64_t size) const {
  return window(*this, "height", in, size, stride_h, dilation_h, top, bottom);
}
Window WindowAttrs::columns(int64_t in, int64_t size) const {
  return window(*this, "width", in, size, stride_w, dilation_w, left, right);
}

WindowAttrs window_attrs(const Node& node) {
  constexpr int64_t kMost = 1 << 30;  // products of two do not overflow
  WindowAttrs attrs;
  attrs.op = node.op;
  const auto format = node.attr<std::string>("data_format", "NHWC");
  if (format != "NHWC")
    fail(Code::Unimplemented, "[", node.op, "] data_format must be NHWC on CPU: got ", format,
         ". Fix: transpose to (batch, height, width, channels) and use data_format='NHWC'");

  // [batch, height, width, channels] -> height, width
  auto read = [&](const char* key, int64_t& height, int64_t& width) {
    const auto values = node.list<int64_t>(key);
    if (values.empty()) return;
    check(values.size() == 4, "[", node.op, "] ", key, " must have 4 values: got ", values.size());
    if (values[0] != 1 || values[3] != 1)
      fail(Code::Unimplemented, "[", node.op, "] ", key, " over the batch or the channels must be 1: got ", values[0],
           " and ", values[3]);
    check(values[1] > 0 && values[2] > 0 && values[1] <= kMost && values[2] <= kMost, "[", node.op, "] ", key,
          " must lie in [1, 2^30]: got ", values[1], " and ", values[2]);
    height = values[1];
    width = values[2];
  };
  read("strides", attrs.stride_h, attrs.stride_w);
  read("dilations", attrs.dilation_h, attrs.dilation_w);
  read("ksize", attrs.size_h, attrs.size_w);

  attrs.padding = node.attr<std::string>("padding");
  check(attrs.padding == "SAME" || attrs.padding == "VALID" || attrs.padding == "EXPLICIT", "[", node.op,
        "] padding must be SAME, VALID or EXPLICIT: got '", attrs.padding, "'");
  const auto pads = node.list<int64_t>("explicit_paddings");
  if (attrs.padding != "EXPLICIT") {
    check(pads.empty(), "[", node.op, "] explicit_paddings needs padding='EXPLICIT': got padding='", attrs.padding, "'");
    return attrs;
  }
  check(pads.size() == 8, "[", node.op, "] explicit_paddings must have 8 values (before, after of each axis): got ",
        pads.size());
  check(pads[0] == 0 && pads[1] == 0 && pads[6] == 0 && pads[7] == 0, "[", node.op,
        "] explicit_paddings of the batch and the channels must be 0");
  check(*std::min_element(pads.begin(), pads.end()) >= 0 && *std::max_element(pads.begin(), pads.end()) <= kMost, "[",
        node.op, "] explicit_paddings must lie in [0, 2^30]");
  attrs.top = pads[2];
  attrs.bottom = pads[3];
  attrs.left = pads[4];
  attrs.right = pads[5];
  return attrs;
}

}  // namespace rf
