#include "collectives/control.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "base/dtype.h"
#include "collectives/reduction.h"

namespace rf {

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free,
              "a lock inside an atomic would not work between processes");

const char* name_of(Operation operation) {
  switch (operation) {
    case Operation::None: return "nothing yet";
    case Operation::Allreduce: return "allreduce";
    case Operation::Broadcast: return "broadcast";
    case Operation::Allgather: return "allgather";
    case Operation::Send: return "send";
    case Operation::Receive: return "recv";
    case Operation::Barrier: return "barrier";
    case Operation::BucketReduce: return "bucket allreduce";
    case Operation::Allocate: return "bucket allocation";
  }
  return "?";
}

std::string Signature::str() const {
  std::string s = name_of(operation);
  if (operation == Operation::Barrier) return s;
  s += "(";
  if (bucket >= 0) s += "bucket " + std::to_string(bucket) + ", ";
  if (reduction >= 0) s += std::string(name_of(static_cast<Reduction>(reduction))) + ", ";
  s += dtype ? std::to_string(count) + " x " + name_of(static_cast<DType>(dtype)) : std::to_string(count) + " bytes";
  if (root >= 0) s += ", root " + std::to_string(root);
  return s + ")";
}

size_t ControlBlock::bytes(int size) { return sizeof(ControlBlock) + static_cast<size_t>(size) * sizeof(Member); }

ControlBlock* ControlBlock::create(void* memory, int size) {
  auto* block = new (memory) ControlBlock(size);
  for (int r = 0; r < size; ++r) new (&block->member(r)) Member();
  return block;
}

bool ControlBlock::abort(int rank, const std::string& text) {
  uint32_t none = 0;
  if (!abort_state_.compare_exchange_strong(none, 1)) return false;
  abort_rank_ = rank;
  const size_t n = std::min(text.size(), sizeof abort_text_ - 1);
  std::memcpy(abort_text_, text.data(), n);
  abort_text_[n] = 0;
  abort_state_.store(2, std::memory_order_release);
  futex_wake_all(generation);
  return true;
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t seen, int timeout_ms) {
  timespec limit{timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void futex_wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0);
}

}  // namespace rf
