// What the C++ tests need: a check that counts, an expected error, and a name for each test.
#pragma once

#include <cstdio>
#include <string>

#include "base/error.h"

namespace rf::test {

inline int failures = 0;

inline void report(bool ok, const char* what, const char* file, int line) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

// Whether `f` throws an rf::Error of `code` whose text and node contain `part`.
template <class F>
bool fails(Code code, const std::string& part, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    if (e.code == code && (e.node + '|' + e.what()).find(part) != std::string::npos) return true;
    std::fprintf(stderr, "  got code %d, node '%s': %s\n", static_cast<int>(e.code), e.node.c_str(), e.what());
    return false;
  }
  std::fprintf(stderr, "  nothing was thrown\n");
  return false;
}

template <class F>
void run(const char* name, F&& f) {
  const int before = failures;
  try {
    f();
  } catch (const std::exception& e) {
    ++failures;
    std::fprintf(stderr, "%s: %s\n", name, e.what());
  }
  std::printf("%s %s\n", failures == before ? "ok  " : "FAIL", name);
}

}  // namespace rf::test

#define CHECK(...) ::rf::test::report(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)
#define TEST(FUNCTION) ::rf::test::run(#FUNCTION, FUNCTION)
