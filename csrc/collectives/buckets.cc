// Memory that the ranks of a communicator share: buckets and their reduction, common segments, and the segment by which
// callers' memory passes.
#include <cstdlib>
#include <cstring>

#include "base/tensor.h"
#include "collectives/agreement.h"
#include "collectives/communicator.h"
#include "collectives/hierarchical.h"
#include "collectives/ring.h"

namespace rf {

// Whether something that nodes do by themselves worked on all of them.
bool Communicator::on_every_node(bool good) {
  if (all_share()) return good;  // the ranks of one node agree already
  int32_t all = good ? 1 : 0;
  ring::allreduce(*group_, &all, 1, DType::Int32, Reduction::Min);
  return all == 1;
}

// The segment that carries callers' memory; null where it could not be had.
Segment* Communicator::passage() {
  if (!passage_asked_) {
    windows_->meet(*watch_);  // ranks in another collective would not take part in the allocation
    std::string problem;
    passage_ = windows_->allocate(one_pass::piece_bytes(windows_->size()), SegmentLayout::Apart, *watch_, &problem);
    if (!on_every_node(passage_ != nullptr)) passage_ = nullptr;
    passage_asked_ = true;
    if (!passage_ && rank_ == 0)
      say(text("ringflow: warning: no shared memory (", problem, "); using the slower algorithms over ",
               transport_name()));
  }
  return passage_.get();
}

void Communicator::give_private_memory(Bucket& bucket) const {
  const size_t bytes = round_up(bucket.bytes_ ? bucket.bytes_ : 1, kPage);
  bucket.memory_ = std::shared_ptr<void>(std::aligned_alloc(kPage, bytes), std::free);
  if (!bucket.memory_) fail(Code::Internal, "out of memory: cannot allocate a bucket of ", bytes, " bytes");
  std::memset(bucket.memory_.get(), 0, bytes);
  bucket.input_ = bucket.result_ = bucket.memory_.get();
}

std::shared_ptr<Bucket> Communicator::bucket(size_t bytes, bool in_place) {
  auto bucket = std::make_shared<Bucket>();
  bucket->bytes_ = bytes;
  if (size_ > 1) {
    // Collective without windows too, so that ranks whose buckets differ learn it before they fill them.
    progress_->run([&] {
      Signature signature = signature_of(Operation::Allocate, static_cast<int64_t>(bytes));
      signature.detail = in_place;
      begin(signature);
      agree_first();
      bucket->number_ = buckets_++;
      if (!use_windows()) return;
      std::string problem;
      const SegmentLayout layout = in_place && all_share() ? one_pass::layout_of(bytes, size_) : SegmentLayout::Apart;
      bucket->segment_ = windows_->allocate(one_pass::window_bytes(bytes, layout), layout, *watch_, &problem);
      if (!on_every_node(bucket->segment_ != nullptr)) bucket->segment_ = nullptr;
      if (!bucket->segment_ && rank_ == 0)
        say(text("ringflow: warning: a bucket of ", bytes >> 10, " KiB is not in shared memory (", problem,
                 "); it is reduced by the slower algorithms over ", transport_name()));
    });
  } else {
    bucket->number_ = buckets_++;
  }
  if (!bucket->segment_) {
    give_private_memory(*bucket);
  } else {
    bucket->input_ = bucket->segment_->window(windows_->rank());
    bucket->result_ = one_pass::result_of(*bucket->segment_, bytes, windows_->rank());
  }
  return bucket;
}

std::shared_ptr<Segment> Communicator::common(size_t bytes) {
  std::shared_ptr<Segment> segment;
  if (!all_share()) return segment;
  progress_->run([&] {
    begin(signature_of(Operation::Allocate, static_cast<int64_t>(bytes)));
    agree_first();
    std::string problem;
    segment = windows_->allocate(round_up(bytes ? bytes : 1, kPage), SegmentLayout::Common, *watch_, &problem);
  });
  return segment;
}

void Communicator::check_bucket(const Bucket& bucket, int64_t count, DType dtype, Reduction reduction) const {
  check_reduction(dtype, reduction);
  check(count >= 0 && static_cast<size_t>(count) * size_of(dtype) <= bucket.bytes(), "[bucket allreduce] ", count, " x ",
        name_of(dtype), " do not fit into the ", bucket.bytes(), " bytes of bucket ", bucket.number_);
}

void Communicator::reduce_in(Bucket& bucket, int64_t count, DType dtype, Reduction reduction) {
  Signature signature = signature_of(Operation::BucketReduce, count, dtype, reduction);
  signature.bucket = bucket.number_;
  signature.step = ++bucket.runs_;
  begin(signature);
  if (bucket.segment_ && all_share())
    return one_pass::allreduce(*windows_, *watch_, *bucket.segment_, bucket.bytes_, count, dtype, reduction);
  agree_first();
  const size_t bytes = static_cast<size_t>(count) * size_of(dtype);
  if (bucket.segment_)
    hierarchical::allreduce({windows_.get(), between_.get(), carriers_, size_}, *watch_, *bucket.segment_, count, dtype,
                            reduction);
  else
    over_transport(bucket.narrow_ ? Algorithm::Ring : choose(Algorithm::Auto, bytes, false), bucket.input_, count, dtype,
                   reduction);
}

Progress::Ticket Communicator::start(const std::shared_ptr<Bucket>& bucket, int64_t count, DType dtype,
                                     Reduction reduction, bool overlap) {
  check_bucket(*bucket, count, dtype, reduction);
  if (size_ == 1) return 0;
  return progress_->start([this, bucket, count, dtype, reduction] { reduce_in(*bucket, count, dtype, reduction); },
                          overlap);
}

void Communicator::allreduce(Bucket& bucket, int64_t count, DType dtype, Reduction reduction) {
  check_bucket(bucket, count, dtype, reduction);
  if (size_ > 1) progress_->run([&] { reduce_in(bucket, count, dtype, reduction); });
}

void Communicator::wait(Progress::Ticket ticket) { progress_->wait(ticket); }

}  // namespace rf
