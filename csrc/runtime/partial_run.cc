#include "runtime/partial_run.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>

namespace rf {
namespace {

constexpr auto kAskEvery = std::chrono::milliseconds(100);

// What one call of fetch waits for. Receivers hold it by shared pointer: the call may give up before they come.
struct Awaited {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Tensor> tensors;
  size_t left = 0;
  std::exception_ptr error;

  void fail(std::exception_ptr e) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!error) error = std::move(e);
    changed.notify_all();
  }
};

}  // namespace

PartialRun::PartialRun(std::function<void(const RunOptions&)> run)
    : thread_([this, run = std::move(run)] {
        try {
          run({0, &cancellation_, nullptr, &rendezvous_});
        } catch (...) {
          return rendezvous_.abort(std::current_exception());
        }
        rendezvous_.end(std::make_exception_ptr(
            Error(Code::InvalidArgument, "[partial_run] Retval does not have value: what is fetched lies on a branch that "
                                         "was not taken. Fix: fetch what a Merge makes of the branches")));
      }) {}

PartialRun::~PartialRun() {
  cancellation_.cancel();
  thread_.join();
}

void PartialRun::feed(const std::string& key, const Tensor& tensor) { rendezvous_.send(key, {copy_of(tensor), false}); }

std::vector<Tensor> PartialRun::fetch(const std::vector<std::string>& keys, const RunOptions& options) {
  auto awaited = std::make_shared<Awaited>();
  awaited->tensors.resize(keys.size());
  awaited->left = keys.size();
  for (size_t i = 0; i < keys.size(); ++i)
    rendezvous_.receive(keys[i], [awaited, i](Parcel parcel, std::exception_ptr error) {
      if (error) return awaited->fail(error);
      std::lock_guard<std::mutex> lock(awaited->mutex);
      awaited->tensors[i] = std::move(parcel.tensor);
      if (--awaited->left == 0) awaited->changed.notify_all();
    });
  Cancellation::Token token = 0;
  if (options.cancellation) {
    const auto stop = [awaited] {
      awaited->fail(std::make_exception_ptr(Error(Code::Cancelled, "[partial_run] the run was cancelled")));
    };
    token = options.cancellation->on_cancel(stop);
    if (token == 0) stop();
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(options.timeout_ms);
  {
    std::unique_lock<std::mutex> lock(awaited->mutex);
    while (awaited->left > 0 && !awaited->error) {
      awaited->changed.wait_for(lock, kAskEvery);
      if (awaited->left == 0 || awaited->error) break;
      if (options.timeout_ms > 0 && std::chrono::steady_clock::now() > until) {
        awaited->error = std::make_exception_ptr(Error(
            Code::DeadlineExceeded, text("[partial_run] no result within ", options.timeout_ms, " ms. Fix: a longer timeout")));
        break;
      }
      lock.unlock();
      const bool stop = options.interrupted && options.interrupted();
      lock.lock();
      if (stop && !awaited->error)
        awaited->error = std::make_exception_ptr(Error(Code::Cancelled, "[partial_run] the run was interrupted"));
    }
  }
  if (token != 0) options.cancellation->forget(token);
  std::lock_guard<std::mutex> lock(awaited->mutex);
  if (awaited->error) std::rethrow_exception(awaited->error);
  return std::move(awaited->tensors);
}

}  // namespace rf
