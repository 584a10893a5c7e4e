// Summaries for TensorBoard as serialized messages: ScalarSummary, HistogramSummary, ImageSummary, MergeSummary.
//
// Summary { repeated Value { tag = 1, simple_value = 2 float, image = 4, histo = 5 } value = 1 }. Merging is writing one
// after the other. Images are PNG without compression, so that no library is needed.
#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "kernels/kernel.h"

namespace rf {
namespace {

using String = std::string;

void varint(String& out, uint64_t n) {
  for (; n > 127; n >>= 7) out += static_cast<char>((n & 127) | 128);
  out += static_cast<char>(n);
}
template <class T>
void little_endian(String& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
void field(String& out, int number, std::string_view data) {
  varint(out, static_cast<uint64_t>(number) << 3 | 2);
  varint(out, data.size());
  out += data;
}
void field(String& out, int number, double value) {
  if (value == 0) return;
  varint(out, static_cast<uint64_t>(number) << 3 | 1);
  little_endian(out, value);
}
void integer(String& out, int number, int64_t value) {
  if (value == 0) return;
  varint(out, static_cast<uint64_t>(number) << 3);
  varint(out, static_cast<uint64_t>(value));
}
void value(String& out, const String& tag, std::string_view content) {
  String message;
  field(message, 1, tag);
  message += content;
  field(out, 1, message);
}

template <class T>
Kernel scalar_summary(const Node&) {
  return [](Context& c) {
    const Tensor &tags = c.input(0), &values = c.input(1);
    check(tags.shape() == values.shape(), "[ScalarSummary] tags and values must have one shape: got ", tags.shape(), " and ",
          values.shape());
    String out;
    for (int64_t i = 0; i < tags.num_elements(); ++i) {
      String number("\x15");
      little_endian(number, static_cast<float>(values.data<T>()[i]));
      value(out, tags.data<String>()[i], number);
    }
    *c.output(0, {}).template data<String>() = out;
  };
}

// The upper ends of TensorFlow's buckets: 0, +-1e-12 and on by factors of 1.1 up to 1e20, +-the largest double.
const std::vector<double>& limits() {
  static const std::vector<double> all = [] {
    std::vector<double> positive;
    for (double v = 1e-12; v < 1e20; v *= 1.1) positive.push_back(v);
    positive.push_back(DBL_MAX);
    std::vector<double> both(positive.rbegin(), positive.rend());
    for (double& v : both) v = -v;
    both.push_back(0);
    both.insert(both.end(), positive.begin(), positive.end());
    return both;
  }();
  return all;
}

template <class T>
Kernel histogram_summary(const Node&) {
  return [](Context& c) {
    const String& tag = c.input(0).scalar<String>();
    const Tensor& values = c.input(1);
    const std::vector<double>& ends = limits();
    std::map<size_t, double> counts;
    double least = DBL_MAX, most = -DBL_MAX, sum = 0, squares = 0;
    for (int64_t i = 0; i < values.num_elements(); ++i) {
      const double v = static_cast<double>(values.data<T>()[i]);
      check(std::isfinite(v), "Nan or Inf in summary histogram for: ", tag);
      ++counts[static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), v) - ends.begin())];
      least = std::min(least, v);
      most = std::max(most, v);
      sum += v;
      squares += v * v;
    }
    String bucket_limits, bucket_counts;  // runs of empty buckets as one
    size_t next = 0;
    const auto add = [&](size_t at, double count) {
      little_endian(bucket_limits, ends[at]);
      little_endian(bucket_counts, count);
    };
    for (const auto& [at, count] : counts) {
      if (at > next) add(at - 1, 0);
      add(at, count);
      next = at + 1;
    }
    if (next < ends.size()) add(ends.size() - 1, 0);
    String histogram;
    field(histogram, 1, least);
    field(histogram, 2, most);
    field(histogram, 3, static_cast<double>(values.num_elements()));
    field(histogram, 4, sum);
    field(histogram, 5, squares);
    field(histogram, 6, bucket_limits);
    field(histogram, 7, bucket_counts);
    String content, out;
    field(content, 5, histogram);
    value(out, tag, content);
    *c.output(0, {}).template data<String>() = out;
  };
}

void big_endian(String& out, uint32_t n) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(n >> shift);
}

uint32_t crc32(std::string_view data) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t n = 0; n < 256; ++n) {
      uint32_t c = n;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
      t[n] = c;
    }
    return t;
  }();
  uint32_t crc = ~0u;
  for (const char ch : data) crc = table[(crc ^ static_cast<uint8_t>(ch)) & 255] ^ crc >> 8;
  return ~crc;
}

void chunk(String& png, const char* kind, const String& data) {
  big_endian(png, static_cast<uint32_t>(data.size()));
  const String body = kind + data;
  png += body;
  big_endian(png, crc32(body));
}

// A zlib stream of stored blocks.
String stored(const String& data) {
  constexpr size_t kBlock = 65535;
  String out("\x78\x01");
  uint32_t a = 1, b = 0;
  for (const char ch : data) {
    a = (a + static_cast<uint8_t>(ch)) % 65521;
    b = (b + a) % 65521;
  }
  for (size_t at = 0; at == 0 || at < data.size(); at += kBlock) {
    const size_t n = std::min(kBlock, data.size() - at);
    out += static_cast<char>(at + kBlock >= data.size());
    little_endian(out, static_cast<uint16_t>(n));
    little_endian(out, static_cast<uint16_t>(~n));
    out.append(data, at, n);
  }
  big_endian(out, b << 16 | a);
  return out;
}

String png(const uint8_t* pixels, int64_t h, int64_t w, int64_t channels) {
  static const char colors[] = {0, 0, 4, 2, 6};
  String out("\x89PNG\r\n\x1a\n"), header, rows;
  big_endian(header, static_cast<uint32_t>(w));
  big_endian(header, static_cast<uint32_t>(h));
  header += {8, colors[channels], 0, 0, 0};
  for (int64_t y = 0; y < h; ++y) {
    rows += '\0';
    rows.append(reinterpret_cast<const char*>(pixels + y * w * channels), static_cast<size_t>(w * channels));
  }
  chunk(out, "IHDR", header);
  chunk(out, "IDAT", stored(rows));
  chunk(out, "IEND", String());
  return out;
}

// Numbers as bytes: the largest magnitude becomes 255, or 127 around 128 where some are negative.
template <class T>
void to_bytes(const T* image, int64_t pixels, int64_t channels, const uint8_t* bad_color, uint8_t* out) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    std::copy_n(image, pixels * channels, out);
  } else {
    const auto good = [=](int64_t p) {
      return std::all_of(image + p * channels, image + (p + 1) * channels, [](T v) { return std::isfinite(v); });
    };
    T low = T(0), high = T(0);
    bool any = false;
    for (int64_t p = 0; p < pixels; ++p)
      if (good(p))
        for (int64_t k = 0; k < channels; ++k) {
          const T v = image[p * channels + k];
          low = any ? std::min(low, v) : v;
          high = any ? std::max(high, v) : v;
          any = true;
        }
    const bool negative = low < T(0);
    const T most = negative ? std::max(std::abs(low), std::abs(high)) : high;
    const T scale = most < T(1e-6) ? T(0) : T(negative ? 127 : 255) / most, offset = T(negative ? 128 : 0);
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t k = 0; k < channels; ++k)
        out[p * channels + k] = good(p) ? static_cast<uint8_t>(image[p * channels + k] * scale + offset) : bad_color[k];
  }
}

template <class T>
Kernel image_summary(const Node& node) {
  const int64_t most = node.attr<int64_t>("max_images", 3);
  const Tensor bad_color = node.attr<Tensor>("bad_color");
  check(bad_color.dtype() == DType::UInt8 && bad_color.num_elements() >= 4,
        "[ImageSummary] bad_color must hold 4 uint8 numbers: got shape ", bad_color.shape());
  return [most, bad_color](Context& c) {
    const Tensor& x = c.input(1);
    check(x.rank() == 4 && (x.dim(3) == 1 || x.dim(3) == 3 || x.dim(3) == 4),
          "[ImageSummary] tensor must be (n, h, w, 1, 3 or 4): got ", x.shape());
    const String& tag = c.input(0).scalar<String>();
    const int64_t h = x.dim(1), w = x.dim(2), channels = x.dim(3);
    String out;
    std::vector<uint8_t> pixels(static_cast<size_t>(h * w * channels));
    for (int64_t i = 0; i < std::min(most, x.dim(0)); ++i) {
      to_bytes(x.data<T>() + i * h * w * channels, h * w, channels, bad_color.data<uint8_t>(), pixels.data());
      String image, content;
      integer(image, 1, h);
      integer(image, 2, w);
      integer(image, 3, channels);
      field(image, 4, png(pixels.data(), h, w, channels));
      field(content, 4, image);
      value(out, tag + (most == 1 ? "/image" : "/image/" + std::to_string(i)), content);
    }
    *c.output(0, {}).template data<String>() = out;
  };
}

// Reads a varint at `at` and moves on; InvalidArgument at the end of the data.
uint64_t read_varint(const String& data, size_t& at) {
  uint64_t n = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    check(at < data.size(), "[MergeSummary] an input is no Summary message");
    const auto byte = static_cast<uint8_t>(data[at++]);
    n |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) break;
  }
  return n;
}

Kernel merge_summary(const Node&) {
  return [](Context& c) {
    String out;
    for (int k = 0; k < c.num_inputs(); ++k)
      for (int64_t i = 0; i < c.input(k).num_elements(); ++i) out += c.input(k).data<String>()[i];
    std::set<String> seen;
    for (size_t at = 0; at < out.size();) {  // values begin with their tag
      ++at;
      const uint64_t size = read_varint(out, at);
      size_t inner = at + 1;
      const uint64_t length = read_varint(out, inner);
      check(size <= out.size() - at && length <= out.size() - inner, "[MergeSummary] an input is no Summary message");
      const String tag = out.substr(inner, length);
      check(seen.insert(tag).second, "Duplicate tag ", tag, " found in summary inputs");
      at += size;
    }
    *c.output(0, {}).data<String>() = out;
  };
}

RF_KERNEL("ScalarSummary", scalar_summary, float, double, int32_t, int64_t)
RF_KERNEL("HistogramSummary", histogram_summary, float, double, int32_t, int64_t)
RF_KERNEL("ImageSummary", image_summary, float, double, uint8_t)
RF_KERNEL_ANY("MergeSummary", None, merge_summary)

}  // namespace
}  // namespace rf
