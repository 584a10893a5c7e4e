// The operations of a communicator: for each the signature, the algorithm and the memory it runs on.
#include <cstring>

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

}  // namespace rf
