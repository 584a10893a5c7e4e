#include "kernels/conv.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace rf {
namespace {

constexpr int64_t kBandBytes = 160 * 1024;

}  // namespace

bool ConvGeometry::pointwise() const {
  auto plain = [](const Window& x) { return x.size == 1 && x.stride == 1 && x.before == 0 && x.out == x.in; };
  return plain(h) && plain(w);
}

ConvGeometry conv_geometry(const WindowAttrs& attrs, const Shape& input, const Shape& filter) {
  check(input.rank() == 4, "[", attrs.op, "] images must be (batch, height, width, channels): got shape ", input);
  check(filter.rank() == 4, "[", attrs.op, "] filters must be (height, width, in, out): got shape ", filter);
  check(input[3] == filter[2], "[", attrs.op, "] dimension 'channels' differs: input ", input, " has ", input[3],
        ", filter ", filter, " takes ", filter[2], ". Fix: make filter.shape[2] equal to input.shape[3]");
  ConvGeometry g;
  g.batch = input[0];
  g.in_channels = input[3];
  g.out_channels = filter[3];
  g.h = attrs.rows(input[1], filter[0]);
  g.w = attrs.columns(input[2], filter[1]);
  return g;
}

void check_out_backprop(const WindowAttrs& attrs, const ConvGeometry& geometry, const Shape& out_backprop) {
  check(out_backprop == geometry.output(), "[", attrs.op, "] out_backprop must have shape ", geometry.output(),
        " for input ", geometry.input(), " and filter ", geometry.filter(), ": got ", out_backprop);
}

template <class T>
const T* frame_rows(const Frame& frame, const T* image, int64_t from, int64_t to, T* memory) {
  if (frame.in_place()) return image + (from - frame.top) * frame.row() - frame.left * frame.channels;
  const int64_t before = std::clamp<int64_t>(frame.left, 0, frame.columns), skipped = std::max<int64_t>(-frame.left, 0);
  const int64_t copied = std::clamp<int64_t>(frame.width - skipped, 0, frame.columns - before);
  const size_t size = sizeof(T) * static_cast<size_t>(frame.channels);
  const size_t left = static_cast<size_t>(before) * size, middle = static_cast<size_t>(copied) * size;
  const size_t right = static_cast<size_t>(frame.columns) * size - left - middle;
  const int64_t first = std::max(from, frame.top), last = std::min(to, frame.top + frame.height);
  for (int64_t i = first; i < last; ++i) {
    char* out = reinterpret_cast<char*>(memory + (i - from) * frame.row());
    std::memset(out, 0, left);
    std::memcpy(out + left, image + ((i - frame.top) * frame.width + skipped) * frame.channels, middle);
    std::memset(out + left + middle, 0, right);
  }
  return memory;
}

template <class T>
int64_t Pass<T>::band() const {
  int64_t most = 1;
  for (const Phase<T>& phase : phases) most = std::max(most, phase.rows);
  if (frame.in_place()) return most;
  const int64_t fit = kBandBytes / std::max<int64_t>(frame.row() * int64_t{sizeof(T)}, 1);
  // at least four rows, so that rows which bands share are not copied too often
  return std::clamp<int64_t>((fit - span) / step_h + 1, std::min<int64_t>(4, most), most);
}

template <class T>
int64_t Pass<T>::memory() const {
  return frame.in_place() ? 0 : ((band() - 1) * step_h + span) * frame.row();
}

template <class T>
void run_pass(const TileSet<T>& set, const Pass<T>& pass, const T* source, T* out, T* memory) {
  const int64_t band = pass.band(), row = pass.frame.row();
  int64_t most = 0;
  for (const Phase<T>& phase : pass.phases) most = std::max(most, phase.rows);
  Tile<T> tile;
  tile.a_row = pass.step_w * pass.frame.channels;
  tile.a_step = 1;
  tile.c_row = pass.out_step_w * pass.out_channels;
  const int64_t bands = (most + band - 1) / band, size = pass.memory();
  parallel_for(pass.batch * bands, 1, [&](int64_t begin, int64_t end, int part) {
    Tile<T> t = tile;
    for (int64_t b = begin; b < end; ++b) {
      const int64_t n = b / bands, from = b % bands * band, to = std::min(most, from + band);
      const T* image = source + n * pass.frame.image();
      T* frame_memory = memory + part * size;
      const T* frame = frame_rows(pass.frame, image, from * pass.step_h, (to - 1) * pass.step_h + pass.span,
                                  frame_memory);
      for (const Phase<T>& phase : pass.phases) {
        const int64_t taps = static_cast<int64_t>(phase.taps.size());
        const int64_t segments = taps ? static_cast<int64_t>(phase.offsets.size()) / taps : 0;  // of a tap row
        t.length = phase.length;
        const int64_t k = taps * segments * t.length;
        for (int64_t j = 0; j < pass.out_channels; j += set.width()) {
          t.columns = std::min<int64_t>(pass.out_channels - j, set.width());
          t.b_step = set.padded(t.columns);
          for (int64_t r = from; r < std::min(to, phase.rows); ++r) {
            // taps above or below the image meet zeros only
            const int64_t above = pass.frame.top - r * pass.step_h, below = above + pass.frame.height;
            int64_t low = 0, high = taps;
            while (low < high && phase.taps[static_cast<size_t>(low)] < above) ++low;
            while (high > low && phase.taps[static_cast<size_t>(high - 1)] >= below) --high;
            t.a_offsets = phase.offsets.data() + low * segments;
            t.segments = (high - low) * segments;
            t.b = phase.filters + k * j + low * segments * t.length * t.b_step;
            t.a = frame + (r - from) * pass.step_h * row;
            const int64_t i = r * pass.out_step_h + phase.first_row;
            t.c = out + ((n * pass.out_height + i) * pass.out_width + phase.first_column) * pass.out_channels + j;
            run_rows(set, phase.columns, t);
          }
        }
      }
    }
  });
}

#define RF_CONV_FOR(T)                                                                        \
  template const T* frame_rows(const Frame&, const T*, int64_t, int64_t, T*);                 \
  template struct Pass<T>;                                                                    \
  template void run_pass(const TileSet<T>&, const Pass<T>&, const T*, T*, T*);
RF_CONV_FOR(float)
RF_CONV_FOR(double)

}  // namespace rf
