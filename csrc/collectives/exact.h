// Sums of floats that are exact, so that neither the order of summation nor how it is split over ranks can change a
// bit.
//
// The values of one tensor in one block of kBlock elements get a common unit, found beforehand as a maximum over all
// shards: 2^-k with k = kBits - ceil(log2 L) - ex, where 2^ex exceeds every finite |value| of the block in any of the
// L shards, and kBits is 31 (float32, summed as int32) or 63 (float64, as int64). Every value is rounded once to a
// multiple of the unit that is less than 2^ex; integer sums of those are exact, and L of them fit. The mean is
// converted back once.
//
// Independent of the environment: values below the smallest normal number count as 0 and means below it become 0,
// which is what flush-to-zero makes of them. Every product is by a power of two, so exact wherever it can reach an
// integer: a compiler that contracts it into a fused multiply-add rounds the same number once (-ffp-contract does not
// matter). Inf and NaN count as 0 in the sums and are told by `flags`; `classify` and `mark` carry them element by
// element. Threading: functions of their arguments.  Source: common-exponent sums, as in Demmel and Nguyen, ARITH
// 2013, section 4.
#pragma once

#include <cstdint>

namespace rf::exact {

constexpr int64_t kBlock = 1024;
constexpr int kMostShards = 4096;  // beyond it the unit would be coarser than float32's last place

inline int64_t blocks_of(int64_t count) { return (count + kBlock - 1) / kBlock; }

template <class T>
struct Fixed;
template <>
struct Fixed<float> {
  using type = int32_t;
};
template <>
struct Fixed<double> {
  using type = int64_t;
};

// exponents[b] = max(exponents[b], the biased exponent of the largest finite |x| of block b); flags[b] = 1 where
// block b holds an Inf or a NaN, otherwise left alone. Both have blocks_of(count) entries, to be merged over ranks by
// maximum.
template <class T>
void raise_maxima(const T* x, int64_t count, int32_t* exponents, int32_t* flags);

// sums[i] = the sum over `num` shards of round(shard[i] * 2^k), given the maxima over all `total_shards`.
template <class T>
void add(const T* const* shards, int num, int64_t count, const int32_t* exponents, int total_shards,
         typename Fixed<T>::type* sums);

// out[i] = sums[i] * 2^-k / total_shards, rounded once (twice where total_shards is no power of two).
template <class T>
void mean(const typename Fixed<T>::type* sums, int64_t count, const int32_t* exponents, int total_shards, T* out);

// For one block that holds an Inf or a NaN in any shard: codes whose integer sum over the shards tells what plain
// summation would give, and the values it gives where that is not finite.
template <class T>
void classify(const T* const* shards, int num, int64_t count, int32_t* codes);
template <class T>
void mark(const int32_t* codes, int64_t count, T* out);

}  // namespace rf::exact
