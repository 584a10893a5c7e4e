#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define RF_CRC_TARGET __attribute__((target("sse4.2")))
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define RF_CRC_TARGET __attribute__((target("+crc")))
#endif

namespace rf {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected

using Table = std::array<uint32_t, 256>;

// tables[k][b]: the crc of byte b followed by k zero bytes, without the inversions at both ends.
std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? kPolynomial : 0);
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k)
    for (size_t b = 0; b < 256; ++b) tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 255];
  return tables;
}

const std::array<Table, 8> kTables = make_tables();

uint64_t load64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

#if defined(RF_CRC_TARGET)

#if defined(__x86_64__)
bool detect() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse4.2");
}
RF_CRC_TARGET inline uint32_t step(uint32_t crc, uint64_t word) { return static_cast<uint32_t>(_mm_crc32_u64(crc, word)); }
RF_CRC_TARGET inline uint32_t step(uint32_t crc, uint8_t byte) { return _mm_crc32_u8(crc, byte); }
#else
bool detect() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
RF_CRC_TARGET inline uint32_t step(uint32_t crc, uint64_t word) { return __builtin_aarch64_crc32cx(crc, word); }
RF_CRC_TARGET inline uint32_t step(uint32_t crc, uint8_t byte) { return __builtin_aarch64_crc32cb(crc, byte); }
#endif

// The instruction takes three cycles and one can start each cycle: three streams of kLane bytes run side by side, and
// `Shift` joins their crcs: it advances a crc over kLane zero bytes, which is linear, so a table for each of its bytes.
constexpr size_t kLane = 2048;

struct Shift {
  std::array<Table, 4> tables{};
  Shift() {
    for (size_t k = 0; k < 4; ++k)
      for (uint32_t b = 0; b < 256; ++b) {
        uint32_t crc = b << (8 * k);
        for (size_t i = 0; i < kLane; ++i) crc = crc >> 8 ^ kTables[0][crc & 255];
        tables[k][b] = crc;
      }
  }
  uint32_t operator()(uint32_t crc) const {
    return tables[0][crc & 255] ^ tables[1][crc >> 8 & 255] ^ tables[2][crc >> 16 & 255] ^ tables[3][crc >> 24];
  }
};

RF_CRC_TARGET uint32_t accelerated(const uint8_t* p, size_t n, uint32_t crc) {
  static const Shift shift;
  for (; n >= 3 * kLane; n -= 3 * kLane, p += 3 * kLane) {
    uint32_t second = 0, third = 0;
    for (size_t i = 0; i < kLane; i += 8) {
      crc = step(crc, load64(p + i));
      second = step(second, load64(p + kLane + i));
      third = step(third, load64(p + 2 * kLane + i));
    }
    crc = shift(shift(crc) ^ second) ^ third;
  }
  for (; n >= 8; n -= 8, p += 8) crc = step(crc, load64(p));
  for (; n != 0; --n, ++p) crc = step(crc, *p);
  return crc;
}

const bool kAccelerated = detect();

#else

constexpr bool kAccelerated = false;
uint32_t accelerated(const uint8_t*, size_t, uint32_t crc) { return crc; }

#endif

}  // namespace

uint32_t crc32c_portable(const void* data, size_t bytes, uint32_t crc) {
  const auto* p = static_cast<const uint8_t*>(data);
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    const uint64_t word = load64(p) ^ crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][word >> (8 * k) & 255];
  }
  for (; bytes != 0; --bytes, ++p) crc = crc >> 8 ^ kTables[0][(crc ^ *p) & 255];
  return ~crc;
}

uint32_t crc32c(const void* data, size_t bytes, uint32_t crc) {
  return kAccelerated ? ~accelerated(static_cast<const uint8_t*>(data), bytes, ~crc) : crc32c_portable(data, bytes, crc);
}

bool crc32c_is_accelerated() { return kAccelerated; }

}  // namespace rf
