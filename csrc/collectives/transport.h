// A transport moves bytes between pairs of ranks. Algorithms (ring.h) are written over it; what it is made of
// (threads, MPI) they cannot tell.
//
// Threads: one thread at a time, the one that runs the communicator's jobs (progress.h).
// Contract: messages of one sender, receiver and tag arrive in order. Nothing here blocks: algorithms poll `done`
// through a Watch, so that an abort or a deadline ends every wait. The memory of a request stays untouched until
// `done` said true or `cancel` returned.
// Abstract on purpose: ringflow._mpi implements it without linking the runtime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace rf {

class Transport {
 public:
  using Request = int;

  virtual ~Transport() = default;
  virtual const char* name() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  virtual Request start_send(int to, int tag, const void* data, size_t bytes) = 0;
  // The message must have exactly this size, otherwise `done` throws InvalidArgument.
  virtual Request start_receive(int from, int tag, void* data, size_t bytes) = 0;
  // True once complete; the request is then gone.
  virtual bool done(Request request) = 0;
  // Gives a request up after a failure. A send may still read its memory.
  virtual void cancel(Request request) = 0;

  // A transport between some of the ranks, in this order, whose messages meet no others. Collective over them; `number`
  // tells apart the transports that one has made.
  virtual std::shared_ptr<Transport> between(const std::vector<int>& ranks, int number) = 0;

  // Out-of-band texts to every other rank (aborts, departures): best effort, never waits for a receiver.
  virtual void announce(const std::string& notice) = 0;
  // The next text that arrived, false where there is none.
  virtual bool heard(std::string* notice) = 0;
};

}  // namespace rf
