// Where the parts of one run meet: a tensor is left under a key by one and taken by another, in either order.
//
// A key is used once: one send, one receive. After `abort`, whoever waits or comes gets the error, and what is sent is
// dropped. Thread-safe; a receiver is called on the thread that sends (or aborts), or at once, without any lock held.
// Source: TensorFlow, framework/rendezvous.h.
#pragma once

#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "base/node.h"
#include "base/tensor.h"

namespace rf {

// What travels: a tensor, or that there is none because it comes from a branch that was not taken.
struct Parcel {
  Tensor tensor;
  bool dead = false;
};

class Rendezvous {
 public:
  // Called once: with what was sent, or with the error that ended the run.
  using Receiver = std::function<void(Parcel, std::exception_ptr)>;

  // AlreadyExists where the key has been sent before.
  void send(const std::string& key, Parcel parcel);
  // AlreadyExists where the key is waited for, or has been received before.
  void receive(const std::string& key, Receiver receiver);
  // The receiver of `key` will not be called; whether it was still waiting.
  bool forget(const std::string& key);
  // Only the first error counts, of this and the next.
  void abort(std::exception_ptr error);
  // Nothing more will be sent: what was sent can still be received; who wants anything else gets the error.
  void end(std::exception_ptr error);

 private:
  struct Slot {
    bool sent = false;
    bool taken = false;
    Parcel parcel;
    Receiver receiver;
  };

  void stop(std::exception_ptr error, bool keep_sent);

  std::mutex mutex_;
  std::map<std::string, Slot> slots_;
  std::exception_ptr error_;
};

// The key of the edge of a _Send or _Recv node, but for its end, the iteration of the loop: devices, incarnation, name.
std::string rendezvous_key(const Node& node);

}  // namespace rf
