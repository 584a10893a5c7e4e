#include "collectives/control.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <new>

#include "base/dtype.h"
#include "collectives/reduction.h"
#include "collectives/selection.h"

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
    case Operation::Reduce: return "reduce";
    case Operation::ReduceScatter: return "reduce_scatter";
    case Operation::Alltoall: return "alltoall";
    case Operation::Split: return "split";
  }
  return "?";
}

std::string Signature::str() const {
  return operation == Operation::Barrier ? name_of(operation) : std::string(name_of(operation)) + "(" + arguments() + ")";
}

std::string Signature::arguments() const {
  if (operation == Operation::Barrier) return name_of(operation);
  std::string s;
  if (bucket >= 0) s += "bucket " + std::to_string(bucket) + ", ";
  if (step > 0) s += "step " + std::to_string(step) + ", ";
  if (reduction >= 0) s += std::string(name_of(static_cast<Reduction>(reduction))) + ", ";
  const DType type = static_cast<DType>(dtype);
  const double mib = static_cast<double>(count) * static_cast<double>(dtype ? size_of(type) : 1) / (1 << 20);
  if (bucket >= 0 && mib >= 0.1) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f MiB ", mib);
    s += text + std::string(dtype ? name_of(type) : "");
  } else {
    s += dtype ? std::to_string(count) + " x " + name_of(type) : std::to_string(count) + " bytes";
  }
  if (root >= 0) s += ", root " + std::to_string(root);
  if (algorithm > 0) s += std::string(", by ") + name_of(static_cast<Algorithm>(algorithm));
  return s;
}

void Member::enter(uint64_t number, const Signature& signature) {
  operation.store(static_cast<uint32_t>(signature.operation), std::memory_order_relaxed);
  bucket.store(signature.bucket, std::memory_order_relaxed);
  step.store(signature.step, std::memory_order_relaxed);
  sequence.store(number, std::memory_order_release);
}

std::string Member::last_seen() const {
  const uint64_t number = sequence.load(std::memory_order_acquire);
  if (number == 0) return "";
  std::string s = "last seen in collective " + std::to_string(number) + " (";
  const int32_t in_bucket = bucket.load(std::memory_order_relaxed);
  if (in_bucket < 0) return s + name_of(static_cast<Operation>(operation.load(std::memory_order_relaxed))) + ")";
  s += "bucket " + std::to_string(in_bucket);
  if (const int64_t in_step = step.load(std::memory_order_relaxed)) s += ", step " + std::to_string(in_step);
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
