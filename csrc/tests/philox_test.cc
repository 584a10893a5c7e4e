// Philox: the published known answer, and the same blocks from every vector width.
#include "kernels/philox.h"

#include <vector>

#include "base/simd.h"
#include "tests/check.h"

using namespace rf;

namespace {

void block_0_of_key_0_is_the_known_answer() {
  uint32_t words[4];
  Philox(0, 0).block(0, words);
  CHECK(words[0] == 0x6627e8d5u && words[1] == 0xe169c58du && words[2] == 0xbc57ac4cu && words[3] == 0x9b00dbd8u);
}

void every_instruction_set_fills_in_the_same_blocks() {
  const Isa most = isa();
  const Philox generator(0xfedcba9876543210u, 0x0123456789abcdefu);
  for (const Isa set : {Isa::Baseline, Isa::Avx2, Isa::Avx512}) {
    limit_isa(set);
    for (const uint64_t index : {uint64_t{0}, uint64_t{7}, uint64_t{0xfffffffbu}, ~uint64_t{0} - 20})  // two carries
      for (int64_t groups = 0; groups < 4; ++groups) {
        std::vector<uint32_t> all(static_cast<size_t>(groups + 1) * 4 * Philox::kGroup, 0xabababab);
        generator.fill(index, groups, all.data());
        bool same = true;
        for (int64_t b = 0; b < groups * Philox::kGroup; ++b) {
          uint32_t words[4];
          generator.block(index + static_cast<uint64_t>(b), words);
          const int64_t g = b / Philox::kGroup, l = b % Philox::kGroup;
          for (int64_t w = 0; w < 4; ++w) same &= all[static_cast<size_t>((g * 4 + w) * Philox::kGroup + l)] == words[w];
        }
        CHECK(same);
        CHECK(all[static_cast<size_t>(groups * 4 * Philox::kGroup)] == 0xabababab);
      }
  }
  limit_isa(most);
}

}  // namespace

int main() {
  TEST(block_0_of_key_0_is_the_known_answer);
  TEST(every_instruction_set_fills_in_the_same_blocks);
  return rf::test::failures != 0;
}
