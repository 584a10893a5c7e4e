#include "collectives/agreement.h"

namespace rf {
namespace {

constexpr int kTag = 2;

// What is known of some ranks: that all came with the signature of `rank`, or that `other` came with a different one.
struct Knowledge {
  Signature signature, different;
  int32_t rank = -1, other = -1;

  void merge(const Knowledge& theirs) {
    if (other >= 0) return;
    if (theirs.other >= 0) {
      *this = theirs;
    } else if (theirs.signature != signature) {
      other = theirs.rank;
      different = theirs.signature;
    }
  }
};

}  // namespace

Signature signature_of(Operation operation, int64_t count, DType dtype) {
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

void agree(Group& group) {
  const int p = group.size(), r = group.rank();
  Transport& transport = group.transport();
  Watch& watch = group.watch();
  Knowledge mine, theirs;
  mine.signature = watch.signature();
  mine.rank = group.name(r);
  for (int distance = 1; distance < p; distance *= 2) {
    const int to = (r + distance) % p, from = (r + p - distance) % p;
    const Knowledge sent = mine;
    const auto receiving = transport.start_receive(group.member(from), kTag, &theirs, sizeof theirs);
    const auto sending = transport.start_send(group.member(to), kTag, &sent, sizeof sent);
    try {
      watch.until_done(transport, receiving, group.name(from));
    } catch (...) {
      transport.cancel(sending);
      throw;
    }
    watch.until_done(transport, sending, group.name(to));
    mine.merge(theirs);
  }
  if (mine.other >= 0) throw_different(watch, mine.rank, mine.signature, mine.other, mine.different);
}

}  // namespace rf
