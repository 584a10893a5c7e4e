// Conv2D: NHWC images, HWIO filters.
#include "base/parallel.h"
#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "kernels/kernel.h"
#include "kernels/winograd.h"

namespace rf {
namespace {

template <class T>
Pass<T> forward_pass(const ConvGeometry& g) {
  Pass<T> pass;
  pass.batch = g.batch;
  pass.frame = Frame{g.h.in, g.w.in, g.in_channels, g.h.before, g.w.before,
                     (g.w.out - 1) * g.w.stride + g.w.extent()};
  pass.step_h = g.h.stride;
  pass.step_w = g.w.stride;
  pass.span = g.h.extent();
  pass.out_height = g.h.out;
  pass.out_width = g.w.out;
  pass.out_channels = g.out_channels;

  Phase<T> phase;
  phase.rows = g.h.out;
  phase.columns = g.w.out;
  const bool joined = g.w.dilation == 1;  // the taps of a filter row lie side by side
  phase.length = joined ? g.w.size * g.in_channels : g.in_channels;
  for (int64_t i = 0; i < g.h.size; ++i) {
    phase.taps.push_back(i * g.h.dilation);
    for (int64_t j = 0; j < (joined ? 1 : g.w.size); ++j)
      phase.offsets.push_back(i * g.h.dilation * pass.frame.row() + j * g.w.dilation * g.in_channels);
  }
  pass.phases.push_back(phase);
  return pass;
}

template <class T>
Kernel conv2d(const Node& node) {
  return [attrs = window_attrs(node)](Context& c) {
    const Tensor &x = c.input(0), &filter = c.input(1);
    const ConvGeometry g = conv_geometry(attrs, x.shape(), filter.shape());
    Tensor& y = c.output(0, g.output());
    if (g.empty()) return;
    if (g.pointwise())
      return gemm(false, false, g.batch * g.h.out * g.w.out, g.out_channels, g.in_channels, T(1), x.data<T>(),
                  g.in_channels, filter.data<T>(), g.out_channels, T(0), y.data<T>(), g.out_channels);
    if (worth_winograd(g)) return winograd_forward(c, g, x.data<T>(), filter.data<T>(), y.data<T>());

    const TileSet<T>& set = tiles<T>();
    Pass<T> pass = forward_pass<T>(g);
    const int64_t k = g.h.size * g.w.size * g.in_channels;
    const bool in_place = g.out_channels % set.lanes == 0 && g.out_channels <= set.width();
    const int64_t packed = in_place ? 0 : k * set.padded(g.out_channels);
    T* memory = static_cast<T*>(c.scratch(static_cast<size_t>(packed + pass.memory() * intra_op_threads()) * sizeof(T)));
    if (!in_place) pack_panels(set, k, g.out_channels, filter.data<T>(), g.out_channels, int64_t{1}, memory);
    pass.phases[0].filters = in_place ? filter.data<T>() : memory;
    run_pass(set, pass, x.data<T>(), y.data<T>(), memory + packed);
  };
}

}  // namespace

RF_KERNEL("Conv2D", conv2d, float, double)

}  // namespace rf
