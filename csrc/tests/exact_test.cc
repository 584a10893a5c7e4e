// Exact sums: the same bits in any order and split, near the true mean, and Inf and NaN where plain summation has
// them.
#include "collectives/exact.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "base/simd.h"
#include "tests/check.h"

using namespace rf;

namespace {

template <class T>
using Shards = std::vector<std::vector<T>>;

constexpr int64_t kCount = 2 * exact::kBlock + 37;

// The mean as P ranks make it: shards in `order`, cut into `ranks` runs that are summed apart and then together,
// backwards.
template <class T>
std::vector<T> mean_of(const Shards<T>& shards, const std::vector<int>& order, int ranks) {
  using Int = typename exact::Fixed<T>::type;
  const int64_t n = static_cast<int64_t>(shards[0].size()), blocks = exact::blocks_of(n);
  const int total = static_cast<int>(shards.size());
  std::vector<int32_t> exponents(static_cast<size_t>(blocks)), flags(exponents);
  for (int s : order) exact::raise_maxima(shards[static_cast<size_t>(s)].data(), n, exponents.data(), flags.data());
  std::vector<Int> sums(static_cast<size_t>(n)), part(sums);
  std::vector<int32_t> codes(static_cast<size_t>(n)), part_codes(codes);
  for (int r = ranks - 1; r >= 0; --r) {
    std::vector<const T*> own;
    for (int i = r * total / ranks; i < (r + 1) * total / ranks; ++i)
      own.push_back(shards[static_cast<size_t>(order[static_cast<size_t>(i)])].data());
    exact::add(own.data(), static_cast<int>(own.size()), n, exponents.data(), total, part.data());
    exact::classify(own.data(), static_cast<int>(own.size()), n, part_codes.data());
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] = static_cast<Int>(sums[i] + part[i]);
      codes[i] += part_codes[i];
    }
  }
  std::vector<T> out(static_cast<size_t>(n));
  exact::mean(sums.data(), n, exponents.data(), total, out.data());
  if (std::count(flags.begin(), flags.end(), 1) > 0) exact::mark(codes.data(), n, out.data());
  return out;
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Normal numbers times 10^(-decades .. 0), a few of them zeros and denormals.
template <class T>
Shards<T> random_shards(int total, double decades, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  Shards<T> shards(static_cast<size_t>(total), std::vector<T>(static_cast<size_t>(kCount)));
  for (auto& shard : shards)
    for (T& x : shard) {
      x = static_cast<T>(normal(random) * std::pow(10.0, -decades * uniform(random)));
      const double u = uniform(random);
      if (u < 0.01) x = 0;
      else if (u < 0.02) x = std::numeric_limits<T>::denorm_min() * 77;
    }
  return shards;
}

template <class T>
double error_of(const Shards<T>& shards, const std::vector<T>& mean) {
  long double difference = 0, norm = 0;
  for (size_t i = 0; i < mean.size(); ++i) {
    long double sum = 0;
    for (const auto& shard : shards) sum += shard[i];
    sum /= static_cast<long double>(shards.size());
    difference += (mean[i] - sum) * (mean[i] - sum);
    norm += sum * sum;
  }
  return static_cast<double>(std::sqrt(difference / norm));
}

template <class T>
void any_order_and_split(double unit) {
  for (int total : {1, 2, 3, 7, 8, 64, 100, 128, 129, 200, 256, 4096})
    for (double decades : {0.0, 6.0}) {
      if (total == 4096 && decades > 0) continue;
      const auto shards = random_shards<T>(total, decades, static_cast<unsigned>(total));
      std::vector<int> order(static_cast<size_t>(total));
      std::iota(order.begin(), order.end(), 0);
      const auto expected = mean_of(shards, order, 1);
      CHECK(error_of(shards, expected) < unit * total);
      std::mt19937 random(3);
      for (int ranks : {2, 3, 5, 8}) {
        if (ranks > total) continue;
        std::shuffle(order.begin(), order.end(), random);
        CHECK(same(mean_of(shards, order, ranks), expected));
      }
    }
}

void any_order_and_split_of_float32_give_the_same_bits() { any_order_and_split<float>(2e-8); }
void any_order_and_split_of_float64_give_the_same_bits() { any_order_and_split<double>(2e-16); }

void every_vector_unit_gives_the_same_bits() {
  const auto shards = random_shards<float>(24, 6, 1);
  std::vector<int> order(24);
  std::iota(order.begin(), order.end(), 0);
  const auto expected = mean_of(shards, order, 3);
  for (Isa most : {Isa::Avx2, Isa::Baseline}) {
    limit_isa(most);
    CHECK(same(mean_of(shards, order, 3), expected));
  }
}

// What a sum of floats would do: without it the tests above would prove nothing.
void plain_sums_depend_on_the_order() {
  const auto shards = random_shards<float>(8, 0, 1);
  std::vector<float> forwards(static_cast<size_t>(kCount)), backwards(forwards);
  for (size_t s = 0; s < 8; ++s)
    for (size_t i = 0; i < forwards.size(); ++i) {
      forwards[i] += shards[s][i];
      backwards[i] += shards[7 - s][i];
    }
  CHECK(!same(forwards, backwards));
}

// L shards of the largest values that a block can hold: nothing wraps.
template <class T>
void largest() {
  for (int total : {1, 2, 3, 128, 129, 256, 1000, 4096})
    for (T x : {std::numeric_limits<T>::max(), -std::numeric_limits<T>::max(), std::nextafter(T(2), T(0)), T(1),
                std::numeric_limits<T>::min()}) {
      const Shards<T> shards(static_cast<size_t>(total), std::vector<T>(3, x));
      std::vector<int> order(static_cast<size_t>(total));
      std::iota(order.begin(), order.end(), 0);
      const T mean = mean_of(shards, order, 1)[0];
      CHECK(std::isinf(mean) ? std::abs(x) == std::numeric_limits<T>::max() : std::abs(mean / x - 1) < 4e-6);
    }
}
void sums_of_the_largest_values_do_not_wrap() {
  largest<float>();
  largest<double>();
}

template <class T>
void small() {
  const T tiny = std::numeric_limits<T>::min();
  const Shards<T> zeros(4, std::vector<T>(5, T(-0.0)));
  const Shards<T> denormals(4, std::vector<T>(5, tiny / 2));
  for (T x : mean_of(zeros, {0, 1, 2, 3}, 2)) CHECK(x == 0 && !std::signbit(x));
  for (T x : mean_of(denormals, {0, 1, 2, 3}, 2)) CHECK(x == 0);
  CHECK(mean_of(Shards<T>{{4 * tiny}, {tiny / 2}}, {0, 1}, 2)[0] == 2 * tiny);
}
void zeros_and_denormals_mean_zero() {
  small<float>();
  small<double>();
}

template <class T>
void not_finite() {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const Shards<T> shards{{1, inf, -inf, inf, nan, 1e30f, -2}, {2, 1, 5, -inf, 1, 1e30f, 6},
                         {3, inf, -inf, 1, inf, 1e30f, -1}};
  for (int ranks : {1, 2, 3}) {
    const auto y = mean_of(shards, {2, 0, 1}, ranks);
    CHECK(std::abs(y[0] - 2) < 1e24);  // shares its block with 1e30
    CHECK(y[1] == inf && y[2] == -inf && std::isnan(y[3]) && std::isnan(y[4]));
    CHECK(std::abs(y[5] / T(1e30f) - 1) < 1e-6);
    CHECK(std::isfinite(y[6]));
  }
}
void inf_and_nan_stay_where_plain_sums_have_them() {
  not_finite<float>();
  not_finite<double>();
}

}  // namespace

int main() {
  TEST(any_order_and_split_of_float32_give_the_same_bits);
  TEST(any_order_and_split_of_float64_give_the_same_bits);
  TEST(plain_sums_depend_on_the_order);
  TEST(sums_of_the_largest_values_do_not_wrap);
  TEST(zeros_and_denormals_mean_zero);
  TEST(inf_and_nan_stay_where_plain_sums_have_them);
  TEST(every_vector_unit_gives_the_same_bits);
  return rf::test::failures != 0;
}
