#include "kernels/waiting.h"

#include <algorithm>
#include <utility>

namespace rf {

void Waiting::start(size_t line, std::shared_ptr<Attempt> attempt, Patience patience, Done done) {
  attempt->done_ = std::move(done);
  change([&](std::vector<std::shared_ptr<Attempt>>& finished) {
    lines_[line].push_back(attempt);
    serve(finished);
    if (!attempt->in_line_) return;
    // The callbacks own the resource and the attempt, so completing the attempt need not wait for one that is running.
    const auto on_end = [self = shared_from_this(), line, attempt](Code code, const std::string& message) {
      self->give_up(line, *attempt, Error(code, message));
    };
    attempt->cancel_token_ = patience.cancellation.on_cancel(
        [on_end, what = patience.what] { on_end(Code::Cancelled, text(what, " was cancelled")); });
    if (attempt->cancel_token_ == 0) {  // the run has been cancelled already
      attempt->abandon();
      attempt->error_ = std::make_exception_ptr(Error(Code::Cancelled, text(patience.what, " was cancelled")));
      attempt->in_line_ = false;
      lines_[line].pop_back();
      finished.push_back(attempt);
      return;
    }
    attempt->cancellation_ = &patience.cancellation;
    if (patience.timeout_ms < 0) return;
    attempt->has_deadline_ = true;
    attempt->deadline_ = Timer::instance().call_after(patience.timeout_ms, [on_end, patience] {
      on_end(Code::DeadlineExceeded, text(patience.what, " has waited for its timeout of ", patience.timeout_ms, " ms"));
    });
  });
}

void Waiting::serve(std::vector<std::shared_ptr<Attempt>>& finished) {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto& line : lines_) {
      while (!line.empty()) {
        Attempt& first = *line.front();
        Attempt::Step step = Attempt::Step::Done;
        try {
          step = first.step();
        } catch (...) {
          first.error_ = std::current_exception();
          first.abandon();
        }
        changed = changed || step != Attempt::Step::Waits;
        if (step != Attempt::Step::Done) break;
        first.in_line_ = false;
        finished.push_back(std::move(line.front()));
        line.pop_front();
      }
    }
  }
}

void Waiting::end_line(size_t line, const Error& error, std::vector<std::shared_ptr<Attempt>>& finished) {
  for (auto& attempt : lines_[line]) {
    attempt->abandon();
    attempt->error_ = std::make_exception_ptr(error);
    attempt->in_line_ = false;
    finished.push_back(std::move(attempt));
  }
  lines_[line].clear();
}

void Waiting::give_up(size_t line, Attempt& attempt, const Error& error) {
  change([&](std::vector<std::shared_ptr<Attempt>>& finished) {
    if (!attempt.in_line_) return;
    auto& attempts = lines_[line];
    const auto it = std::find_if(attempts.begin(), attempts.end(), [&](const auto& a) { return a.get() == &attempt; });
    attempt.abandon();
    attempt.error_ = std::make_exception_ptr(error);
    attempt.in_line_ = false;
    finished.push_back(std::move(*it));
    attempts.erase(it);
  });
}

void Waiting::complete(const std::vector<std::shared_ptr<Attempt>>& finished) {
  for (const auto& attempt : finished) {
    if (attempt->cancellation_) attempt->cancellation_->drop(attempt->cancel_token_);
    if (attempt->has_deadline_) Timer::instance().drop(attempt->deadline_);
    if (!attempt->error_) {
      try {
        attempt->finish();
      } catch (...) {
        attempt->error_ = std::current_exception();
      }
    }
    const Done done = std::move(attempt->done_);
    done(attempt->error_);
  }
}

}  // namespace rf
