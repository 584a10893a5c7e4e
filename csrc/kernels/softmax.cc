// Softmax, LogSoftmax and the two cross entropies, over the last dimension.
//
// Rows are taken in groups that stay in the first-level cache. In a group the exponentials run as one long loop, so
// that ten classes use the vector unit as well as a thousand. e^(x - max) never overflows.
#include "kernels/index.h"
#include "kernels/softmax.h"

namespace rf {
namespace {

constexpr int64_t kGroupBytes = 16384;

struct Rows {
  int64_t count, n;
  explicit Rows(const Shape& s) : count(s.product(0, s.rank() - 1)), n(s[s.rank() - 1]) {}
  // Rows of a group.
  template <class T>
  int64_t group() const {
    return std::max<int64_t>(1, kGroupBytes / static_cast<int64_t>(sizeof(T)) / std::max<int64_t>(1, n));
  }
  // Calls f(begin, end, memory) for stretches of whole groups, in vectorised code; each has its own `size` elements.
  template <class T, class F>
  void for_each_group(T* memory, int64_t size, const F& f) const {
    const int64_t rows = group<T>(), last = count;
    const int64_t grain = 1 + kParallelGrain / 4 / (rows * n + 1);  // an exponential costs several additions
    parallel_for((last + rows - 1) / rows, grain, [=, &f](int64_t begin, int64_t end, int part) {
      vectorised([=, &f] { f(begin * rows, std::min(end * rows, last), memory + part * size); });
    });
  }
};

// So many elements for each thread.
template <class T>
T* temporary(Context& c, int64_t elements) {
  return static_cast<T*>(c.scratch(static_cast<size_t>(elements * intra_op_threads()) * sizeof(T)));
}

template <class T, bool kLog>
Kernel softmax(const Node&) {
  return [](Context& c) {
    const Tensor& x = c.input(0);
    check(x.shape().rank() >= 1, "[", c.node().op, "] logits must have at least one dimension");
    Tensor& y = c.output(0, x.shape());
    const Rows rows(x.shape());
    const int64_t group = rows.group<T>(), n = rows.n;
    if (x.num_elements() == 0) return;
    T* temporaries = temporary<T>(c, group * (kLog ? n + 1 : 1));
    const T* in = x.data<T>();
    T* out = y.data<T>();
    rows.for_each_group<T>(temporaries, group * (kLog ? n + 1 : 1), [=](int64_t begin, int64_t end, T* sums) {
      for (int64_t start = begin; start < end; start += group) {
        const int64_t size = end - start < group ? end - start : group;
        T* z = out + start * n;
        if constexpr (!kLog) {
          softmax_rows(in + start * n, size, n, z, sums);
        } else {
          exponentials(in + start * n, size, n, z, sums + group, sums);
          for (int64_t r = 0; r < size; ++r) {
            const T a = math::log(sums[r]);
            T* row = z + r * n;
#pragma GCC ivdep
            for (int64_t j = 0; j < n; ++j) row[j] -= a;
          }
        }
      }
    });
  };
}

// Input i, its rows and columns repeated to `shape`; the input itself where it has that shape.
template <class T>
Tensor widened(Context& c, int i, const Shape& shape) {
  const Tensor& t = c.input(i);
  if (t.shape() == shape) return t;
  check((t.dim(0) == shape[0] || t.dim(0) == 1) && (t.dim(1) == shape[1] || t.dim(1) == 1), "[", c.node().op,
        "] logits and labels must broadcast: got ", c.input(0).shape(), " and ", c.input(1).shape());
  Tensor wide(t.dtype(), shape);
  const int64_t row = t.dim(0) == 1 ? 0 : t.dim(1), column = t.dim(1) == 1 ? 0 : 1;
  const T* in = t.data<T>();
  T* out = wide.data<T>();
  for (int64_t r = 0; r < shape[0]; ++r)
    for (int64_t j = 0; j < shape[1]; ++j) *out++ = in[r * row + j * column];
  return wide;
}

// loss = -sum labels * log softmax;  backprop = softmax - labels
template <class T>
Kernel cross_entropy(const Node&) {
  return [](Context& c) {
    check(c.input(0).rank() == 2 && c.input(1).rank() == 2, "[", c.node().op,
          "] logits and labels must be (batch, classes): got ", c.input(0).shape(), " and ", c.input(1).shape());
    Shape shape = c.input(0).shape();
    for (int i = 0; i < 2; ++i)
      if (shape[i] == 1) shape.set(i, c.input(1).dim(i));
    const Tensor x = widened<T>(c, 0, shape), labels = widened<T>(c, 1, shape);
    const Rows rows(x.shape());
    const int64_t group = rows.group<T>(), n = rows.n, count = rows.count;
    T* loss = c.output(0, {count}).template data<T>();
    T* backprop = c.output(1, x.shape()).template data<T>();
    T* temporaries = temporary<T>(c, group * (n + 1));
    const T *in = x.data<T>(), *target = labels.data<T>();
    rows.for_each_group<T>(temporaries, group * (n + 1), [=](int64_t begin, int64_t end, T* sums) {
      T* shifted = sums + group;
      for (int64_t start = begin; start < end; start += group) {
        const int64_t size = end - start < group ? end - start : group;
        T* z = backprop + start * n;
        exponentials(in + start * n, size, n, shifted, z, sums);
        for (int64_t r = 0; r < size; ++r) {
          const T log_sum = math::log(sums[r]), scale = T(1) / sums[r];
          const T *t = target + (start + r) * n, *s = shifted + r * n;
          T *row = z + r * n, *terms = shifted + r * n;
#pragma GCC ivdep
          for (int64_t j = 0; j < n; ++j) {
            const T label = t[j], term = label * (log_sum - s[j]);
            row[j] = row[j] * scale - label;
            terms[j] = label == T(0) ? T(0) : term;  // a logit of -inf with label 0 costs nothing
          }
          loss[start + r] = reduce_row<SumOf>(terms, n);
        }
      }
    });
  };
}

// The same for labels as class numbers.
template <class T>
Kernel sparse_cross_entropy(const Node&) {
  return [](Context& c) {
    const Tensor &x = c.input(0), &labels = c.input(1);
    check(x.shape().rank() == 2 && labels.shape() == Shape{x.dim(0)}, "[", c.node().op,
          "] logits must be (batch, classes) and labels (batch,): got ", x.shape(), " and ", labels.shape());
    const Rows rows(x.shape());
    const int64_t group = rows.group<T>(), n = rows.n, count = rows.count;
    T* loss = c.output(0, labels.shape()).template data<T>();
    T* backprop = c.output(1, x.shape()).template data<T>();
    visit_index(labels.dtype(), [&](auto tag) {
      const auto* label = labels.data<typename decltype(tag)::type>();
      check_indices(c, label, count, n);
      T* temporaries = temporary<T>(c, group * (n + 2));
      const T* in = x.data<T>();
      rows.for_each_group<T>(temporaries, group * (n + 2), [=](int64_t begin, int64_t end, T* sums) {
        T *chosen = sums + group, *shifted = chosen + group;
        for (int64_t start = begin; start < end; start += group) {
          const int64_t size = end - start < group ? end - start : group;
          T* z = backprop + start * n;
          exponentials(in + start * n, size, n, shifted, z, sums);
          for (int64_t r = 0; r < size; ++r) chosen[r] = shifted[r * n + label[start + r]];
#pragma GCC ivdep
          for (int64_t r = 0; r < size; ++r) loss[start + r] = math::log(sums[r]) - chosen[r];
          for (int64_t r = 0; r < size; ++r) {
            const T scale = T(1) / sums[r];
            T* row = z + r * n;
#pragma GCC ivdep
            for (int64_t j = 0; j < n; ++j) row[j] *= scale;
            row[label[start + r]] -= T(1);
          }
        }
      });
    });
  };
}

template <class T>
Kernel plain_softmax(const Node& node) {
  return softmax<T, false>(node);
}
template <class T>
Kernel log_softmax(const Node& node) {
  return softmax<T, true>(node);
}

RF_KERNEL_IN_PLACE("Softmax", plain_softmax, float, double)
RF_KERNEL_IN_PLACE("LogSoftmax", log_softmax, float, double)
RF_KERNEL("SoftmaxCrossEntropyWithLogits", cross_entropy, float, double)
RF_KERNEL("SparseSoftmaxCrossEntropyWithLogits", sparse_cross_entropy, float, double)

}  // namespace
}  // namespace rf
