// CRC-32C (Castagnoli) as TFRecord files, event files and checkpoints use it, masked or plain.
//
// The processor's instruction is used where there is one (SSE4.2, ARMv8 CRC), found out at run time; else tables.
// Source: RFC 3720, appendix B.4; three interleaved streams after M. Adler, crc32c.c; the mask is LevelDB's.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rf {

// The crc of `bytes` bytes, or of these after others whose crc is `crc`.
uint32_t crc32c(const void* data, size_t bytes, uint32_t crc = 0);
// The same by tables alone: what processors without the instruction run.
uint32_t crc32c_portable(const void* data, size_t bytes, uint32_t crc = 0);
// Whether crc32c() uses an instruction here.
bool crc32c_is_accelerated();

// Formats that store a crc beside data which may hold crcs themselves store it masked.
inline uint32_t mask_crc(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }
inline uint32_t unmask_crc(uint32_t masked) {
  const uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}
inline uint32_t masked_crc32c(const void* data, size_t bytes) { return mask_crc(crc32c(data, bytes)); }

}  // namespace rf
