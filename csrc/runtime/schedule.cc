#include "runtime/schedule.h"

#include <new>

namespace rf {

Error error_of(std::exception_ptr thrown, const Node& node) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& e) {
    return e.node.empty() ? Error(e.code, e.what(), node.name) : e;
  } catch (const std::bad_alloc&) {
    return Error(Code::Internal, text("[", node.op, "] out of memory"), node.name);
  } catch (const std::exception& e) {
    return Error(Code::Internal, text("[", node.op, "] ", e.what()), node.name);
  }
}

}  // namespace rf
