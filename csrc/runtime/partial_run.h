// A run that stays alive while its caller feeds it, takes some results, feeds more: Session.partial_run.
//
// The graph's ends towards the caller are _Recv and _Send nodes. The run has a thread of its own, and the caller meets it
// in the rendezvous. Thread-safe. The destructor cancels the run and waits for its end.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/cancellation.h"
#include "runtime/rendezvous.h"
#include "runtime/schedule.h"

namespace rf {

class PartialRun {
 public:
  // Begins `run`, which throws what went wrong.
  explicit PartialRun(std::function<void(const RunOptions&)> run);
  PartialRun(const PartialRun&) = delete;
  PartialRun& operator=(const PartialRun&) = delete;
  ~PartialRun();

  // Hands a tensor to the _Recv of that key.
  void feed(const std::string& key, const Tensor& tensor);
  // What the _Send nodes of these keys are given, each once. Waits; throws the run's error. InvalidArgument for one whose
  // branch was not taken; DeadlineExceeded after options.timeout_ms; Cancelled by options.cancellation.
  std::vector<Tensor> fetch(const std::vector<std::string>& keys, const RunOptions& options);
  void cancel() { cancellation_.cancel(); }

 private:
  Rendezvous rendezvous_;
  Cancellation cancellation_;
  std::thread thread_;
};

}  // namespace rf
