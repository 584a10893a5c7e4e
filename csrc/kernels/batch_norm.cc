// FusedBatchNormV3 and its gradient: NHWC, statistics over batch, height and width.
//
// Narrow channels would leave vectors short, so several pixels are laid end to end as one line of about
// kLine elements, and per-channel values are repeated along it. Sums run in T along blocks of lines and in double
// across blocks. Moments are taken about the mean of the first pixels, which keeps the variance exact for
// data far from zero.
// Source: Ioffe, Szegedy, "Batch Normalization", ICML 2015; Chan, Golub, LeVeque, "Algorithms for Computing the
// Sample Variance", The American Statistician 37 (1983).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

constexpr int64_t kLine = 256;        // elements
constexpr int64_t kBlockLines = 32;   // summed in T before they join the sums in double
constexpr int64_t kShiftPixels = 64;  // pixels whose mean the moments are taken about

struct Lines {
  int64_t channels, repeats, total;  // repeats: pixels of a line; total: elements of the tensor
  int64_t length() const { return channels * repeats; }
  int64_t pixels() const { return channels ? total / channels : 0; }
};

Lines lines_of(const Node& node, const Shape& x) {
  check(x.rank() == 4, "[", node.op, "] x must be (batch, height, width, channels): got shape ", x);
  const int64_t channels = x[3];
  return {channels, channels ? std::max<int64_t>(1, kLine / channels) : 1, x.num_elements()};
}

void check_channels(const Node& node, const char* what, const Tensor& t, int64_t channels) {
  check(t.rank() == 1 && t.dim(0) == channels, "[", node.op, "] ", what, " must have one value for each of the ",
        channels, " channels of x: got shape ", t.shape());
}

template <class T>
void check_attrs(const Node& node) {
  const DType u = node.attr("U", DTypeOf<T>::value);
  if (u != DTypeOf<T>::value)
    fail(Code::Unimplemented, "[", node.op, "] scale and statistics must have the dtype of x, ", name_of(DTypeOf<T>::value),
         ": got ", name_of(u), ". Fix: cast them");
  const auto format = node.attr<std::string>("data_format", "NHWC");
  if (format != "NHWC")
    fail(Code::Unimplemented, "[", node.op, "] data_format must be NHWC on CPU: got ", format,
         ". Fix: transpose to (batch, height, width, channels) and use data_format='NHWC'");
}

// Scratch of a call, carved into pieces of whole cache lines.
class Pieces {
 public:
  Pieces(Context& c, size_t bytes) : next_(static_cast<char*>(c.scratch(bytes))) {}
  template <class T>
  T* take(int64_t n) {
    T* piece = reinterpret_cast<T*>(next_);
    next_ += round_up(static_cast<size_t>(n) * sizeof(T));
    return piece;
  }

 private:
  char* next_;
};

// Copies one value for each channel along a line.
template <class T>
void repeat(const Lines& lines, T* line) {
  for (int64_t r = 1; r < lines.repeats; ++r)
    std::memcpy(line + r * lines.channels, line, static_cast<size_t>(lines.channels) * sizeof(T));
}

// sum1[c], sum2[c] += the two results of f(at, lane) over elements [0, lines.total): `at` the element, `lane` its
// place in the line. line1 and line2 are scratch.
template <class T, class F>
void sum_lines(const Lines& lines, T* __restrict line1, T* __restrict line2, double* sum1, double* sum2, const F& f) {
  const int64_t length = lines.length(), total = lines.total;
  std::fill_n(sum1, lines.channels, 0.0);
  std::fill_n(sum2, lines.channels, 0.0);
  vectorised([=, &lines] {
    for (int64_t block = 0; block < total; block += kBlockLines * length) {
      for (int64_t j = 0; j < length; ++j) line1[j] = line2[j] = T(0);
      const int64_t end = std::min(total, block + kBlockLines * length);
      for (int64_t at = block; at < end; at += length) {
        const int64_t n = std::min(length, end - at);
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) {
          const auto [first, second] = f(at + j, j);
          line1[j] += first;
          line2[j] += second;
        }
      }
      for (int64_t r = 0; r < lines.repeats; ++r)
        for (int64_t c = 0; c < lines.channels; ++c) {
          sum1[c] += static_cast<double>(line1[r * lines.channels + c]);
          sum2[c] += static_cast<double>(line2[r * lines.channels + c]);
        }
    }
  });
}

// out[at] = f(at, lane) over all elements; from the last block to the first, for what was summed last is still in the
// cache where an image is larger than that.
template <class T, class F>
void map_lines(const Lines& lines, T* __restrict out, const F& f) {
  const int64_t length = lines.length(), total = lines.total, block = kBlockLines * length;
  const int64_t blocks = block ? (total + block - 1) / block : 0;
  parallel_for(blocks, 1, [=](int64_t begin, int64_t end, int) {
    vectorised([=] {
      for (int64_t b = blocks - 1 - begin; b > blocks - 1 - end; --b)
        for (int64_t at = b * block; at < std::min(b * block + block, total); at += length) {
          const int64_t n = std::min(length, total - at);
#pragma GCC ivdep
          for (int64_t j = 0; j < n; ++j) out[at + j] = f(at + j, j);
        }
    });
  });
}

template <class T>
struct Two {
  T first, second;
};

// Biased mean and variance of each channel.
template <class T>
void moments(const Lines& lines, const T* x, T* shift, T* line1, T* line2, double* mean, double* variance) {
  const int64_t sample = std::min(kShiftPixels, lines.pixels());
  const Lines few{lines.channels, lines.repeats, sample * lines.channels};
  sum_lines(few, line1, line2, mean, variance, [=](int64_t at, int64_t) { return Two<T>{x[at], T(0)}; });
  for (int64_t c = 0; c < lines.channels; ++c) shift[c] = sample ? static_cast<T>(mean[c] / static_cast<double>(sample)) : T(0);
  repeat(lines, shift);
  sum_lines(lines, line1, line2, mean, variance, [=](int64_t at, int64_t j) {
    const T d = x[at] - shift[j];
    return Two<T>{d, d * d};
  });
  const double n = static_cast<double>(std::max<int64_t>(lines.pixels(), 1));  // no pixels: mean and variance 0
  for (int64_t c = 0; c < lines.channels; ++c) {
    const double d = mean[c] / n;
    mean[c] = static_cast<double>(shift[c]) + d;
    variance[c] = std::max(variance[c] / n - d * d, 0.0);
  }
}

template <class T>
Kernel fused_batch_norm(const Node& node) {
  check_attrs<T>(node);
  const double epsilon = static_cast<double>(node.attr("epsilon", 1e-4f));
  const double factor = static_cast<double>(node.attr("exponential_avg_factor", 1.0f));
  const bool training = node.attr("is_training", true);
  return [=](Context& c) {
    const Tensor &x = c.input(0), &scale = c.input(1), &offset = c.input(2);
    const Lines lines = lines_of(c.node(), x.shape());
    const int64_t channels = lines.channels, length = lines.length();
    check_channels(c.node(), "scale", scale, channels);
    check_channels(c.node(), "offset", offset, channels);
    const bool needs_old = !training || factor != 1.0;
    if (needs_old) {
      check_channels(c.node(), "mean", c.input(3), channels);
      check_channels(c.node(), "variance", c.input(4), channels);
    }
    const T* old_mean = needs_old ? c.input(3).data<T>() : nullptr;
    const T* old_variance = needs_old ? c.input(4).data<T>() : nullptr;

    T* y = c.output(0, x.shape()).template data<T>();
    T* batch_mean = c.output(1, {channels}).template data<T>();
    T* batch_variance = c.output(2, {channels}).template data<T>();
    T* saved_mean = c.output(3, {channels}).template data<T>();
    T* saved_variance = c.output(4, {channels}).template data<T>();
    c.output(5, {0});

    Pieces scratch(c, 3 * round_up(static_cast<size_t>(length) * sizeof(T)) +
                          2 * round_up(static_cast<size_t>(channels) * sizeof(double)));
    T *center = scratch.take<T>(length), *factors = scratch.take<T>(length), *offsets = scratch.take<T>(length);
    double *mean = scratch.take<double>(channels), *variance = scratch.take<double>(channels);
    if (training) {
      moments(lines, x.data<T>(), center, factors, offsets, mean, variance);
    } else {
      std::copy_n(old_mean, channels, mean);
      std::copy_n(old_variance, channels, variance);
    }

    const int64_t n = lines.pixels();
    const double unbiased = training && n > 1 ? static_cast<double>(n) / static_cast<double>(n - 1) : 1.0;
    const bool blend = training && factor != 1.0;
    const T *gamma = scale.data<T>(), *beta = offset.data<T>();
    for (int64_t i = 0; i < channels; ++i) {
      const double mean_now = mean[i], variance_now = variance[i] * unbiased;
      batch_mean[i] = static_cast<T>(blend ? (1 - factor) * static_cast<double>(old_mean[i]) + factor * mean_now : mean_now);
      batch_variance[i] = static_cast<T>(
          blend ? (1 - factor) * static_cast<double>(old_variance[i]) + factor * variance_now : variance_now);
      saved_mean[i] = static_cast<T>(mean[i]);
      saved_variance[i] = static_cast<T>(variance[i]);
      center[i] = saved_mean[i];
      factors[i] = static_cast<T>(static_cast<double>(gamma[i]) / std::sqrt(variance[i] + epsilon));
      offsets[i] = beta[i];
    }
    repeat(lines, center);
    repeat(lines, factors);
    repeat(lines, offsets);
    map_lines(lines, y, [=, in = x.data<T>()](int64_t at, int64_t j) {
      return (in[at] - center[j]) * factors[j] + offsets[j];
    });
  };
}

template <class T>
Kernel fused_batch_norm_grad(const Node& node) {
  check_attrs<T>(node);
  const double epsilon = static_cast<double>(node.attr("epsilon", 1e-4f));
  const bool training = node.attr("is_training", true);
  return [=](Context& c) {
    const Tensor &dy = c.input(0), &x = c.input(1), &scale = c.input(2), &mean = c.input(3), &variance = c.input(4);
    const Lines lines = lines_of(c.node(), x.shape());
    const int64_t channels = lines.channels, length = lines.length();
    check(dy.shape() == x.shape(), "[", c.node().op, "] y_backprop must have the shape of x, ", x.shape(), ": got ",
          dy.shape());
    check_channels(c.node(), "scale", scale, channels);
    check_channels(c.node(), "reserve_space_1", mean, channels);
    check_channels(c.node(), "reserve_space_2", variance, channels);

    T* dx = c.output(0, x.shape()).template data<T>();
    T* dscale = c.output(1, {channels}).template data<T>();
    T* doffset = c.output(2, {channels}).template data<T>();
    c.output(3, {0});
    c.output(4, {0});

    Pieces scratch(c, 4 * round_up(static_cast<size_t>(length) * sizeof(T)) +
                          2 * round_up(static_cast<size_t>(channels) * sizeof(double)));
    T *center = scratch.take<T>(length), *factors = scratch.take<T>(length);
    T *means = scratch.take<T>(length), *slopes = scratch.take<T>(length);
    double *sum = scratch.take<double>(channels), *product = scratch.take<double>(channels);
    const T *in = x.data<T>(), *gradient = dy.data<T>();
    std::copy_n(mean.data<T>(), channels, center);
    repeat(lines, center);
    sum_lines(lines, means, slopes, sum, product, [=](int64_t at, int64_t j) {
      return Two<T>{gradient[at], gradient[at] * (in[at] - center[j])};
    });

    // dx = gamma / sigma * (dy - mean(dy) - (x - mean) * mean(dy * (x - mean)) / sigma^2)
    const double n = static_cast<double>(lines.pixels());
    for (int64_t i = 0; i < channels; ++i) {
      const double inverse = 1.0 / (static_cast<double>(variance.data<T>()[i]) + epsilon), root = std::sqrt(inverse);
      dscale[i] = static_cast<T>(product[i] * root);
      doffset[i] = static_cast<T>(sum[i]);
      factors[i] = static_cast<T>(static_cast<double>(scale.data<T>()[i]) * root);
      means[i] = static_cast<T>(sum[i] / n);
      slopes[i] = static_cast<T>(product[i] * inverse / n);
    }
    repeat(lines, factors);
    if (!training) {
      map_lines(lines, dx, [=](int64_t at, int64_t j) { return gradient[at] * factors[j]; });
      return;
    }
    repeat(lines, means);
    repeat(lines, slopes);
    map_lines(lines, dx, [=](int64_t at, int64_t j) {
      return factors[j] * (gradient[at] - means[j] - (in[at] - center[j]) * slopes[j]);
    });
  };
}

}  // namespace

RF_KERNEL("FusedBatchNormV3", fused_batch_norm, float, double)
RF_KERNEL("FusedBatchNormGradV3", fused_batch_norm_grad, float, double)

}  // namespace rf
