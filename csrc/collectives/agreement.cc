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

void agree(Transport& transport, Watch& watch) {
  const int p = transport.size(), r = transport.rank();
  Knowledge mine, theirs;
  mine.signature = watch.signature();
  mine.rank = r;
  for (int distance = 1; distance < p; distance *= 2) {
    const int to = (r + distance) % p, from = (r + p - distance) % p;
    const Knowledge sent = mine;
    const auto receiving = transport.start_receive(from, kTag, &theirs, sizeof theirs);
    const auto sending = transport.start_send(to, kTag, &sent, sizeof sent);
    try {
      watch.until_done(receiving, from);
    } catch (...) {
      transport.cancel(sending);
      throw;
    }
    watch.until_done(sending, to);
    mine.merge(theirs);
  }
  if (mine.other >= 0) throw_different(watch, mine.rank, mine.signature, mine.other, mine.different);
}

}  // namespace rf
