// _Send and _Recv: edges between the partitions of a run, and between a partial run and its caller.
//
// A tensor that is sent is a copy, unless the sender gives up its memory with it. Who receives it owns it. Deadness
// travels with it: a token of a branch that was not taken arrives dead.
#include <atomic>
#include <memory>
#include <utility>

#include "kernels/kernel.h"
#include "runtime/rendezvous.h"

namespace rf {
namespace {

Rendezvous& rendezvous_of(Context& c) {
  if (!c.run().rendezvous)
    fail(Code::InvalidArgument, "[", c.node().op, "] node '", c.node().name,
         "' has nobody to exchange tensors with: the graph is one partition of several. Fix: run them together");
  return *c.run().rendezvous;
}

// The key of an edge in the iteration that the kernel runs in.
std::string key_in(const std::string& edge, const Context& c) {
  return edge + (c.iteration().empty() ? "0:0" : c.iteration());
}

Kernel send(const Node& node) {
  return [edge = rendezvous_key(node)](Context& c) {
    Parcel parcel{c.dead() ? Tensor() : c.keep(0), c.dead()};
    rendezvous_of(c).send(key_in(edge, c), std::move(parcel));
  };
}

// One receive in flight. Whoever sets `finished` first - the sender, or the cancelled run - ends the kernel.
struct Receiving {
  std::atomic<bool> finished{false};
  Done done;
};

std::exception_ptr cancelled(const Node& node) {
  return std::make_exception_ptr(
      Error(Code::Cancelled, text("[_Recv] the run ended before '", node.name, "' had its tensor"), node.name));
}

AsyncKernel recv(const Node& node) {
  return [edge = rendezvous_key(node)](Context& c, Done done) {
    Rendezvous& rendezvous = rendezvous_of(c);
    Cancellation& cancellation = c.run().cancellation;
    auto receiving = std::make_shared<Receiving>();
    receiving->done = std::move(done);
    const Cancellation::Token token = cancellation.on_cancel([receiving, &c] {
      if (!receiving->finished.exchange(true)) receiving->done(cancelled(c.node()));
    });
    if (token == 0) return receiving->done(cancelled(c.node()));
    rendezvous.receive(key_in(edge, c), [receiving, token, &c, &cancellation](Parcel parcel, std::exception_ptr error) {
      if (receiving->finished.exchange(true)) return;
      cancellation.forget(token);
      if (!error) c.set_dead(parcel.dead);
      if (!error && !parcel.dead) c.set_output(0, parcel.tensor);
      receiving->done(error);
    });
  };
}

RF_KERNEL_ANY("_Send", None, send)
RF_KERNEL_ASYNC("_Recv", recv)

}  // namespace
}  // namespace rf
