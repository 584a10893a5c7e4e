// The one exception of the C++ side. Bindings turn it into the Python class of the same code.
// Text convention: "[where] the rule that failed: what was received. Fix: the next action."
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace rf {

// TensorFlow's status codes; graph/errors.py has one exception class for each.
enum class Code {
  Cancelled = 1,
  Unknown = 2,
  InvalidArgument = 3,
  DeadlineExceeded = 4,
  NotFound = 5,
  AlreadyExists = 6,
  PermissionDenied = 7,
  ResourceExhausted = 8,
  FailedPrecondition = 9,
  Aborted = 10,
  OutOfRange = 11,
  Unimplemented = 12,
  Internal = 13,
  Unavailable = 14,
  DataLoss = 15,
};

class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message) : std::runtime_error(message), code(code) {}
  Error(Code code, const std::string& message, std::string node)
      : std::runtime_error(message), code(code), node(std::move(node)) {}

  Code code;
  std::string node;  // the graph node that failed; empty until the executor knows it
};

namespace detail {
inline void append(std::ostringstream&) {}
template <class First, class... Rest>
void append(std::ostringstream& out, const First& first, const Rest&... rest) {
  out << first;
  append(out, rest...);
}
}  // namespace detail

// Joins its arguments into one text.
template <class... Args>
std::string text(const Args&... args) {
  std::ostringstream out;
  detail::append(out, args...);
  return out.str();
}

template <class... Args>
[[noreturn]] void fail(Code code, const Args&... args) {
  throw Error(code, text(args...));
}

// Throws InvalidArgument with the joined text unless `ok`.
template <class... Args>
void check(bool ok, const Args&... args) {
  if (__builtin_expect(!ok, 0)) fail(Code::InvalidArgument, args...);
}

}  // namespace rf
