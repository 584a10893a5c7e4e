// The operations of a communicator: for each the signature, the algorithm and the memory it runs on.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "base/tensor.h"
#include "collectives/agreement.h"
#include "collectives/communicator.h"
#include "collectives/exchange.h"
#include "collectives/halving_doubling.h"
#include "collectives/hierarchical.h"
#include "collectives/ring.h"
#include "collectives/tree.h"

namespace rf {
namespace {

constexpr int kFirstUserTag = 16, kMaxUserTag = 32000;
constexpr size_t kTreeBytes = size_t{64} << 10;  // reduce and broadcast: up to this by tree, above by ring

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

template <class Int>
uint64_t hash_of(const std::vector<Int>& numbers) {
  uint64_t hash = 0;
  for (Int n : numbers) hash = hash * 1000003 + static_cast<uint64_t>(n);
  return hash;
}

// size + 1 offsets
template <class Int>
std::vector<size_t> offsets_of(const std::vector<Int>& sizes, size_t unit = 1) {
  std::vector<size_t> begin(sizes.size() + 1, 0);
  for (size_t i = 0; i < sizes.size(); ++i) begin[i + 1] = begin[i] + static_cast<size_t>(sizes[i]) * unit;
  return begin;
}

}  // namespace

// Before data go over the transport. The algorithms on windows of all compare signatures themselves (Windows::meet).
void Communicator::agree_first() {
  if (all_share())
    windows_->meet(*watch_);
  else
    agree(*group_);
}

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

void Communicator::over_transport(Algorithm algorithm, void* data, int64_t count, DType dtype, Reduction reduction) {
  switch (algorithm) {
    case Algorithm::HalvingDoubling: return halving_doubling::allreduce(*group_, data, count, dtype, reduction);
    case Algorithm::Tree: return tree::allreduce(*group_, data, count, dtype, reduction);
    default: return ring::allreduce(*group_, data, count, dtype, reduction);
  }
}

void Communicator::allreduce(void* data, int64_t count, DType dtype, Reduction reduction, Algorithm asked) {
  check_reduction(dtype, reduction);
  const size_t bytes = static_cast<size_t>(count) * size_of(dtype);
  const Algorithm algorithm = choose(asked, bytes, true);
  if (size_ == 1) return;
  progress_->run([&] {
    Signature signature = signature_of(Operation::Allreduce, count, dtype, reduction);
    signature.algorithm = static_cast<int32_t>(asked);
    signature.detail = static_cast<uint64_t>(algorithm);  // tables may differ by mistake
    begin(signature);
    if (algorithm == Algorithm::OnePass && passage())
      return one_pass::allreduce(*windows_, *watch_, *passage_, data, count, dtype, reduction);
    agree_first();
    if (algorithm == Algorithm::Hierarchical && passage())
      return hierarchical::allreduce({windows_.get(), between_.get(), carriers_, size_}, *watch_, *passage_, data, count,
                                     dtype, reduction);
    over_transport(algorithm, data, count, dtype, reduction);
  });
}

void Communicator::reduce(void* data, int64_t count, DType dtype, Reduction reduction, int root) {
  check_reduction(dtype, reduction);
  check(root >= 0 && root < size_, "[reduce] the root must be a rank below ", size_, ", got ", root);
  if (size_ == 1) return;
  progress_->run([&] {
    Signature signature = signature_of(Operation::Reduce, count, dtype, reduction);
    signature.root = root;
    begin(signature);
    if (all_share() && use_windows() && passage())
      return one_pass::reduce(*windows_, *watch_, *passage_, data, count, dtype, reduction, root);
    agree_first();
    const size_t item = size_of(dtype);
    if (static_cast<size_t>(count) * item <= kTreeBytes)
      return tree::reduce(*group_, data, count, dtype, reduction, root);
    // a reduce-scatter, then the root collects the chunks: about 2n(p-1)/p bytes instead of n log2 p
    char* base = static_cast<char*>(data);
    const std::vector<size_t> begin = ring::even_chunks(count, item, size_);
    ring::reduce_scatter(*group_, base, begin, dtype, reduction);
    Requests requests(*group_);
    for (int r = 0; r < size_; ++r) {
      const size_t k = static_cast<size_t>(r);
      if (r == root) continue;
      if (rank_ == root) requests.receive_all(r, base + begin[k], begin[k + 1] - begin[k]);
      if (rank_ == r) requests.send_all(root, base + begin[k], begin[k + 1] - begin[k]);
    }
    requests.wait_all();
  });
}

void Communicator::reduce_scatter(const void* in, void* out, const std::vector<int64_t>& counts, DType dtype,
                                  Reduction reduction) {
  check_reduction(dtype, reduction);
  check(counts.size() == static_cast<size_t>(size_), "[reduce_scatter] a count for each of ", size_,
        " ranks is needed, got ", counts.size());
  const size_t item = size_of(dtype), me = static_cast<size_t>(rank_);
  const std::vector<size_t> begin_of = offsets_of(counts, item);
  const size_t mine = begin_of[me + 1] - begin_of[me], all = begin_of.back();
  if (size_ == 1) {
    if (all > 0) std::memmove(out, in, all);
    return;
  }
  progress_->run([&] {
    Signature signature = signature_of(Operation::ReduceScatter, static_cast<int64_t>(all / item), dtype, reduction);
    signature.detail = hash_of(counts);
    begin(signature);
    if (all_share() && use_windows() && passage())
      return one_pass::reduce_scatter(*windows_, *watch_, *passage_, static_cast<const char*>(in),
                                      static_cast<char*>(out), begin_of, dtype, reduction);
    agree_first();
    std::vector<char> scratch(all);
    if (all > 0) std::memcpy(scratch.data(), in, all);
    ring::reduce_scatter(*group_, scratch.data(), begin_of, dtype, reduction);
    if (mine > 0) std::memcpy(out, scratch.data() + begin_of[me], mine);
  });
}

void Communicator::broadcast(void* data, size_t bytes, int root) {
  check(root >= 0 && root < size_, "[broadcast] the root must be a rank below ", size_, ", got ", root);
  if (size_ == 1) return;
  progress_->run([&] {
    Signature signature = signature_of(Operation::Broadcast, static_cast<int64_t>(bytes));
    signature.root = root;
    begin(signature);
    if (all_share() && use_windows() && passage())
      return one_pass::broadcast(*windows_, *watch_, *passage_, data, bytes, root);
    agree_first();
    if (bytes <= kTreeBytes)
      tree::broadcast(*group_, data, bytes, root);
    else
      ring::broadcast(*group_, data, bytes, root);
  });
}

void Communicator::allgather(const void* in, void* out, size_t bytes) {
  allgatherv(in, out, std::vector<size_t>(static_cast<size_t>(size_), bytes));
}

void Communicator::allgatherv(const void* in, void* out, const std::vector<size_t>& bytes) {
  check(bytes.size() == static_cast<size_t>(size_), "[allgather] a size for each of ", size_, " ranks is needed, got ",
        bytes.size());
  const size_t me = static_cast<size_t>(rank_);
  if (size_ == 1) {
    if (bytes[0] > 0 && in != out) std::memcpy(out, in, bytes[0]);
    return;
  }
  const std::vector<size_t> begin_of = offsets_of(bytes);
  progress_->run([&] {
    Signature signature = signature_of(Operation::Allgather, static_cast<int64_t>(begin_of.back()));
    signature.detail = hash_of(bytes);
    begin(signature);
    if (all_share() && use_windows() && passage())
      return one_pass::allgatherv(*windows_, *watch_, *passage_, in, out, bytes);
    agree_first();
    char* base = static_cast<char*>(out);
    if (bytes[me] > 0 && base + begin_of[me] != in) std::memcpy(base + begin_of[me], in, bytes[me]);
    ring::allgather(*group_, base, begin_of);
  });
}

void Communicator::alltoallv(const void* in, const std::vector<size_t>& in_bytes, void* out,
                             const std::vector<size_t>& out_bytes) {
  const size_t p = static_cast<size_t>(size_), me = static_cast<size_t>(rank_);
  check(in_bytes.size() == p && out_bytes.size() == p, "[alltoall] a size for each of ", size_,
        " ranks is needed, both ways, got ", in_bytes.size(), " and ", out_bytes.size());
  check(in_bytes[me] == out_bytes[me], "[alltoall] rank ", rank_, "/", size_, " sends itself ", in_bytes[me],
        " bytes and expects ", out_bytes[me]);
  const std::vector<size_t> in_begin = offsets_of(in_bytes), out_begin = offsets_of(out_bytes);
  const char* from = static_cast<const char*>(in);
  char* to = static_cast<char*>(out);
  if (size_ == 1) {
    if (in_bytes[0] > 0) std::memcpy(to, from, in_bytes[0]);
    return;
  }
  progress_->run([&] {
    begin(signature_of(Operation::Alltoall, 0));
    if (all_share() && use_windows() && passage())
      return one_pass::alltoallv(*windows_, *watch_, *passage_, from, in_begin, to, out_begin);
    agree_first();
    exchange::alltoallv(*group_, from, in_begin, to, out_begin);
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
    watch_->begin(signature_of(Operation::Send, static_cast<int64_t>(bytes)), group_->name(to));
    group_->count(bytes);
    watch_->until_done(*transport_, transport_->start_send(to, kFirstUserTag + tag, data, bytes), group_->name(to));
  });
}

void Communicator::receive(void* data, size_t bytes, int from, int tag) {
  check_peer(Operation::Receive, from);
  check(tag >= 0 && tag <= kMaxUserTag, "[recv] the tag must be in [0, ", kMaxUserTag, "], got ", tag);
  progress_->run([&] {
    watch_->begin(signature_of(Operation::Receive, static_cast<int64_t>(bytes)), group_->name(from));
    watch_->until_done(*transport_, transport_->start_receive(from, kFirstUserTag + tag, data, bytes),
                       group_->name(from));
  });
}

std::shared_ptr<Communicator> Communicator::split(int color, int key) {
  const std::shared_ptr<Communicator> self = shared_from_this();
  std::vector<int32_t> mine{color, key}, every(2 * static_cast<size_t>(size_));
  allgather(mine.data(), every.data(), sizeof(int32_t) * 2);
  std::vector<std::pair<int32_t, int>> order;  // of the ranks of this color
  for (int r = 0; r < size_; ++r)
    if (every[static_cast<size_t>(2 * r)] == color) order.emplace_back(every[static_cast<size_t>(2 * r + 1)], r);
  std::sort(order.begin(), order.end());
  const int number = ++splits_;  // 0 is the node's transport
  if (color < 0) return nullptr;
  CommunicatorOptions options = options_;
  options.nodes.clear();
  std::vector<int> ranks, names;
  for (const auto& [its_key, r] : order) {
    ranks.push_back(r);
    names.push_back(group_ ? group_->name(r) : 0);
    options.nodes.push_back(options_.nodes[static_cast<size_t>(r)]);
  }
  std::shared_ptr<Transport> transport;
  std::shared_ptr<Windows> windows;
  if (ranks.size() > 1)
    progress_->run([&] {
      watch_->begin(signature_of(Operation::Split, color), &names);
      transport = transport_->between(ranks, number);
      std::string problem;
      if (windows_ && options_.join) windows = options_.join(*transport, options.nodes, &problem);
    });
  return std::shared_ptr<Communicator>(
      new Communicator(self, std::move(transport), std::move(windows), std::move(options), std::move(names)));
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
