#include "collectives/communicator.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "base/tensor.h"
#include "collectives/agreement.h"
#include "collectives/ring.h"

namespace rf {
namespace {

constexpr int kFirstUserTag = 16, kMaxUserTag = 32000;

Signature signature_of(Operation operation, int64_t count, DType dtype = DType::Invalid) {
  Signature s;
  s.operation = operation;
  s.count = count;
  s.dtype = static_cast<int32_t>(dtype);
  return s;
}

Signature signature_of(Operation operation, int64_t count, DType dtype, Reduction reduction) {
  Signature s = signature_of(operation, count, dtype);
  s.reduction = static_cast<int32_t>(reduction);
  return s;
}

}  // namespace

Algorithm algorithm_of(const std::string& name) {
  for (Algorithm a : {Algorithm::Auto, Algorithm::OnePass, Algorithm::Ring})
    if (name == name_of(a)) return a;
  fail(Code::InvalidArgument, "[communicator] the algorithm must be auto, one_pass or ring: got '", name,
       "'. Fix: correct RINGFLOW_ALLREDUCE.");
}

const char* name_of(Algorithm algorithm) {
  return algorithm == Algorithm::Auto ? "auto" : algorithm == Algorithm::OnePass ? "one_pass" : "ring";
}

Communicator::Communicator(std::shared_ptr<Transport> transport, std::shared_ptr<Windows> windows,
                           CommunicatorOptions options)
    : transport_(std::move(transport)), windows_(std::move(windows)), options_(options),
      rank_(transport_ ? transport_->rank() : 0), size_(transport_ ? transport_->size() : 1) {
  check(options_.timeout_s > 0, "[communicator] the timeout must be > 0 s, got ", options_.timeout_s);
  check(options_.algorithm != Algorithm::OnePass || windows_ || size_ == 1,
        "[communicator] one_pass needs memory that all ranks share. Fix: RINGFLOW_ALLREDUCE=auto.");
  if (windows_) {
    control_ = &windows_->control();
  } else {
    const size_t bytes = ControlBlock::bytes(size_) + 64;
    control_memory_.reset(new char[bytes]);
    control_ = ControlBlock::create(
        reinterpret_cast<void*>(round_up(reinterpret_cast<uintptr_t>(control_memory_.get()))), size_);
  }
  watch_ = std::make_unique<Watch>(*control_, windows_ != nullptr, transport_.get(), rank_, size_, options_.timeout_s);
  progress_ = std::make_unique<Progress>(options_.background);
  watch_->set_awaited(&progress_->waiting());
  watch_->set_warning(options_.warn_s);
}

Communicator::~Communicator() { close(); }

const char* Communicator::transport_name() const { return transport_ ? transport_->name() : "none"; }

void Communicator::begin(const Signature& signature) {
  watch_->begin(signature);
  if (begun_ || !windows_) return;
  windows_->barrier(*watch_);
  watch_->set_crowded(windows_->crowded());
  begun_ = true;
}

// Before data go over the transport. The algorithms on windows compare signatures themselves (Windows::meet).
void Communicator::agree_first() {
  if (windows_)
    windows_->meet(*watch_);
  else
    agree(*transport_, *watch_);
}

// The segment that carries callers' memory; null where it could not be had.
Segment* Communicator::passage() {
  if (!passage_asked_) {
    windows_->meet(*watch_);  // ranks in another collective would not take part in the allocation
    std::string problem;
    passage_ = windows_->allocate(one_pass::piece_bytes(size_), *watch_, &problem);
    passage_asked_ = true;
    if (!passage_ && rank_ == 0)
      std::fprintf(stderr, "ringflow: warning: no shared memory (%s); using the slower ring over %s\n", problem.c_str(),
                   transport_name());
  }
  return passage_.get();
}

void Communicator::allreduce(void* data, int64_t count, DType dtype, Reduction reduction) {
  check_reduction(dtype, reduction);
  if (size_ == 1) return;
  progress_->run([&] {
    begin(signature_of(Operation::Allreduce, count, dtype, reduction));
    if (use_windows() && passage()) {
      one_pass::allreduce(*windows_, *watch_, *passage_, data, count, dtype, reduction);
    } else {
      agree_first();
      ring::allreduce(*transport_, *watch_, data, count, dtype, reduction);
    }
  });
}

void Communicator::broadcast(void* data, size_t bytes, int root) {
  check(root >= 0 && root < size_, "[broadcast] the root must be a rank below ", size_, ", got ", root);
  if (size_ == 1) return;
  progress_->run([&] {
    Signature signature = signature_of(Operation::Broadcast, static_cast<int64_t>(bytes));
    signature.root = root;
    begin(signature);
    if (use_windows() && passage()) {
      one_pass::broadcast(*windows_, *watch_, *passage_, data, bytes, root);
    } else {
      agree_first();
      ring::broadcast(*transport_, *watch_, data, bytes, root);
    }
  });
}

void Communicator::allgather(const void* in, void* out, size_t bytes) {
  allgatherv(in, out, std::vector<size_t>(static_cast<size_t>(size_), bytes));
}

void Communicator::allgatherv(const void* in, void* out, const std::vector<size_t>& bytes) {
  check(bytes.size() == static_cast<size_t>(size_), "[allgather] a size for each of ", size_, " ranks is needed, got ",
        bytes.size());
  if (size_ == 1) {
    if (bytes[0] > 0 && in != out) std::memcpy(out, in, bytes[0]);
    return;
  }
  size_t total = 0;
  for (size_t b : bytes) total += b;
  progress_->run([&] {
    Signature signature = signature_of(Operation::Allgather, static_cast<int64_t>(total));
    for (size_t b : bytes) signature.detail = signature.detail * 1000003 + b;
    begin(signature);
    if (use_windows() && passage()) {
      one_pass::allgatherv(*windows_, *watch_, *passage_, in, out, bytes);
    } else {
      agree_first();
      ring::allgatherv(*transport_, *watch_, in, out, bytes);
    }
  });
}

void Communicator::barrier() {
  if (size_ == 1) return;
  progress_->run([&] {
    begin(signature_of(Operation::Barrier, 0));
    agree_first();
  });
}

void Communicator::check_peer(Operation operation, int peer) const {
  check(peer >= 0 && peer < size_ && peer != rank_, "[", name_of(operation), "] rank ", rank_, "/", size_,
        ": the peer must be another rank below ", size_, ", got ", peer);
}

void Communicator::send(const void* data, size_t bytes, int to, int tag) {
  check_peer(Operation::Send, to);
  check(tag >= 0 && tag <= kMaxUserTag, "[send] the tag must be in [0, ", kMaxUserTag, "], got ", tag);
  progress_->run([&] {
    watch_->begin(signature_of(Operation::Send, static_cast<int64_t>(bytes)), to);
    watch_->until_done(transport_->start_send(to, kFirstUserTag + tag, data, bytes), to);
  });
}

void Communicator::receive(void* data, size_t bytes, int from, int tag) {
  check_peer(Operation::Receive, from);
  check(tag >= 0 && tag <= kMaxUserTag, "[recv] the tag must be in [0, ", kMaxUserTag, "], got ", tag);
  progress_->run([&] {
    watch_->begin(signature_of(Operation::Receive, static_cast<int64_t>(bytes)), from);
    watch_->until_done(transport_->start_receive(from, kFirstUserTag + tag, data, bytes), from);
  });
}

void Communicator::give_private_memory(Bucket& bucket) const {
  const size_t bytes = round_up(bucket.bytes_ ? bucket.bytes_ : 1, kPage);
  bucket.memory_ = std::shared_ptr<void>(std::aligned_alloc(kPage, bytes), std::free);
  if (!bucket.memory_) fail(Code::Internal, "out of memory: cannot allocate a bucket of ", bytes, " bytes");
  std::memset(bucket.memory_.get(), 0, bytes);
  bucket.input_ = bucket.result_ = bucket.memory_.get();
}

std::shared_ptr<Bucket> Communicator::bucket(size_t bytes) {
  auto bucket = std::make_shared<Bucket>();
  bucket->bytes_ = bytes;
  if (size_ > 1 && use_windows()) {
    progress_->run([&] {
      begin(signature_of(Operation::Allocate, static_cast<int64_t>(bytes)));
      windows_->meet(*watch_);
      bucket->number_ = buckets_++;
      std::string problem;
      bucket->segment_ = windows_->allocate(round_up(bytes ? bytes : 1, kPage), *watch_, &problem);
      if (!bucket->segment_ && rank_ == 0)
        std::fprintf(stderr,
                     "ringflow: warning: a bucket of %.1f MiB is not in shared memory (%s); it is reduced by the "
                     "slower ring over %s\n",
                     static_cast<double>(bytes) / (1 << 20), problem.c_str(), transport_name());
    });
  } else {
    // Collective here too, so that ranks whose buckets differ learn it before they fill them.
    if (size_ > 1) progress_->run([&] {
      begin(signature_of(Operation::Allocate, static_cast<int64_t>(bytes)));
      agree_first();
    });
    bucket->number_ = buckets_++;
  }
  if (!bucket->segment_) {
    give_private_memory(*bucket);
  } else {
    bucket->input_ = bucket->segment_->window(windows_->rank());
    bucket->result_ = bucket->segment_->result();
  }
  return bucket;
}

Progress::Ticket Communicator::start(const std::shared_ptr<Bucket>& bucket, int64_t count, DType dtype,
                                     Reduction reduction, bool overlap) {
  check_reduction(dtype, reduction);
  check(count >= 0 && static_cast<size_t>(count) * size_of(dtype) <= bucket->bytes(), "[bucket allreduce] ", count,
        " x ", name_of(dtype), " do not fit into the ", bucket->bytes(), " bytes of bucket ", bucket->number_);
  if (size_ == 1) return 0;
  const auto job = [this, bucket, count, dtype, reduction] {
    Signature signature = signature_of(Operation::BucketReduce, count, dtype, reduction);
    signature.bucket = bucket->number_;
    signature.step = ++bucket->runs_;
    begin(signature);
    if (bucket->segment_) {
      one_pass::allreduce(*windows_, *watch_, *bucket->segment_, count, dtype, reduction);
    } else {
      agree_first();
      (bucket->narrow_ ? ring::allreduce_narrow : ring::allreduce)(*transport_, *watch_, bucket->input_, count, dtype,
                                                                   reduction);
    }
  };
  return progress_->start(job, overlap);
}

void Communicator::wait(Progress::Ticket ticket) { progress_->wait(ticket); }

void Communicator::abort(const std::string& text) {
  if (!control_->abort(rank_, text) || windows_ || size_ == 1) return;
  // Jobs see the flag within milliseconds; then this thread may use the transport.
  progress_->run_soon([&] { watch_->abort(text); }, 1.0);
}

void Communicator::leave() {
  if (size_ > 1) progress_->run_soon([&] { watch_->announce(Presence::Left); }, 1.0);
}

void Communicator::tell() {
  if (size_ > 1) progress_->run_soon([&] { watch_->announce(Presence::Told); }, 1.0);
}

int Communicator::wait_told(double timeout_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  for (;;) {
    if (!windows_) progress_->run_soon([&] { watch_->listen(); }, 0.0);
    int running = 0, told = 0;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      const Presence presence = control_->member(r).presence.load(std::memory_order_acquire);
      running += presence == Presence::Running;
      told += presence == Presence::Told;
    }
    if (running == 0) return told;
    if (std::chrono::steady_clock::now() >= end) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

bool Communicator::aborted() {
  if (!windows_ && size_ > 1 && !control_->aborted()) progress_->run_soon([&] { watch_->listen(); }, 0.0);
  return control_->aborted();
}

void Communicator::close() {
  closed_ = true;
  watch_->stop();
  progress_->stop();
}

}  // namespace rf
