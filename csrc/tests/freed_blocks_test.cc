// Freed memory that is kept: what comes back for which size, and what is given up.
#include "base/freed_blocks.h"

#include <cstdlib>
#include <random>
#include <set>
#include <vector>

#include "tests/check.h"

using namespace rf;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

void a_block_comes_back_for_a_size_at_most_a_quarter_smaller() {
  FreedBlocks freed;
  void* const block = std::malloc(10000);
  size_t capacity = 0;
  freed.give(block, 10000);
  CHECK(!freed.take(10001, &capacity));
  CHECK(!freed.take(7999, &capacity));
  CHECK(freed.take(8000, &capacity) == block && capacity == 10000);
  CHECK(!freed.take(10000, &capacity));
  std::free(block);
}

void the_blocks_given_back_longest_ago_are_given_up() {
  FreedBlocks freed;
  size_t capacity = 0;
  for (size_t i = 0; i < 5; ++i) freed.give(std::malloc((60 + i) * kMiB), (60 + i) * kMiB);  // room for four
  void* const other = freed.take(60 * kMiB, &capacity);
  CHECK(other && capacity != 60 * kMiB);
  std::free(other);
  void* const last = freed.take(64 * kMiB, &capacity);
  CHECK(last && capacity == 64 * kMiB);
  std::free(last);
  freed.give(std::malloc(200 * kMiB), 200 * kMiB);  // too large to keep beside others
  CHECK(!freed.take(200 * kMiB, &capacity));
}

void no_block_is_given_twice() {
  std::mt19937 random(3);
  FreedBlocks freed;
  struct Held {
    void* data;
    size_t bytes;
  };
  std::vector<Held> held;
  std::set<void*> out;
  int again = 0;
  for (int step = 0; step < 20000; ++step) {
    if (held.size() < 50 || random() % 2) {
      const size_t bytes = FreedBlocks::kLeastBytes + random() % 8 * 1000 + random() % 3 * 100000;
      size_t capacity = bytes;
      void* data = freed.take(bytes, &capacity);
      again += data != nullptr;
      if (!data) data = std::malloc(bytes);
      CHECK(capacity >= bytes && capacity <= bytes + bytes / 4);
      CHECK(out.insert(data).second);
      held.push_back({data, capacity});
    } else {
      const size_t i = random() % held.size();
      out.erase(held[i].data);
      freed.give(held[i].data, held[i].bytes);
      held[i] = held.back();
      held.pop_back();
    }
  }
  CHECK(again > 5000);
  for (const Held& h : held) std::free(h.data);
}

}  // namespace

int main() {
  TEST(a_block_comes_back_for_a_size_at_most_a_quarter_smaller);
  TEST(the_blocks_given_back_longest_ago_are_given_up);
  TEST(no_block_is_given_twice);
  return rf::test::failures != 0;
}
