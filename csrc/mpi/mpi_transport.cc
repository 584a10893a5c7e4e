// The module ringflow._mpi: a transport over MPI point-to-point, and nothing else. The only place with mpi.h.
//
// Threads: level SERIALIZED: one thread at a time calls in. Requests are polled with MPI_Test, never waited for.
// The communicator is a duplicate of the caller's, with errors returned; a second duplicate carries notices.
// The transport travels to ringflow._core in a capsule, so that neither module depends on the other's build.
#include <mpi.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <list>
#include <memory>
#include <vector>

#include "collectives/transport.h"

namespace py = pybind11;

namespace rf {
namespace {

// MPI 3 counts are ints: longer messages are split. All parts but the last are full and the last one is not (it may be
// empty), so that a receiver notices at once where sizes differ by whole parts.
constexpr size_t kMaxMessage = size_t{1} << 30;
constexpr int kNoticeTag = 7;
constexpr size_t kMaxNotice = 8192;

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char message[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, message, &length);
  fail(Code::Unavailable, "[", call, "] MPI failed: ", std::string(message, static_cast<size_t>(length)));
}

class MpiTransport : public Transport {
 public:
  MpiTransport(MPI_Comm original, size_t max_message) : max_message_(max_message) {
    check_mpi(MPI_Comm_dup(original, &comm_), "MPI_Comm_dup");
    check_mpi(MPI_Comm_dup(original, &notices_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(notices_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  // The duplicates are left to MPI_Finalize: freeing them is collective, and ranks end in any order.

  const char* name() const override { return "MPI"; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Request start_send(int to, int tag, const void* data, size_t bytes) override {
    return start(to, bytes, false, [&](size_t at, int n, MPI_Request* request) {
      check_mpi(MPI_Isend(static_cast<const char*>(data) + at, n, MPI_BYTE, to, tag, comm_, request), "MPI_Isend");
    });
  }
  Request start_receive(int from, int tag, void* data, size_t bytes) override {
    return start(from, bytes, true, [&](size_t at, int n, MPI_Request* request) {
      check_mpi(MPI_Irecv(static_cast<char*>(data) + at, n, MPI_BYTE, from, tag, comm_, request), "MPI_Irecv");
    });
  }

  std::shared_ptr<Transport> between(const std::vector<int>& ranks, int number) override {
    MPI_Group all, some;
    MPI_Comm_group(comm_, &all);
    MPI_Group_incl(all, static_cast<int>(ranks.size()), ranks.data(), &some);
    MPI_Comm comm = MPI_COMM_NULL;
    const int code = MPI_Comm_create_group(comm_, some, number % 32768, &comm);
    MPI_Group_free(&some);
    MPI_Group_free(&all);
    check_mpi(code, "MPI_Comm_create_group");
    auto transport = std::make_shared<MpiTransport>(comm, max_message_);
    MPI_Comm_free(&comm);  // it was duplicated by the same ranks just now
    return transport;
  }

  bool done(Request id) override {
    Message& m = messages_[static_cast<size_t>(id)];
    while (m.first < m.parts.size()) {
      int flag = 0, count = 0;
      MPI_Status status;
      const int code = MPI_Test(&m.parts[m.first], &flag, &status);
      if (code != MPI_SUCCESS) refuse(m, code);
      if (!flag) return false;
      if (m.incoming) {
        MPI_Get_count(&status, MPI_BYTE, &count);
        const size_t expected = std::min(max_message_, m.bytes - m.first * max_message_);
        if (static_cast<size_t>(count) != expected) wrong_size(m, static_cast<size_t>(count));
      }
      ++m.first;
    }
    release(id);
    return true;
  }

  void cancel(Request id) override {
    Message& m = messages_[static_cast<size_t>(id)];
    if (!m.in_use) return;
    for (size_t i = m.first; i < m.parts.size(); ++i) {
      if (m.parts[i] == MPI_REQUEST_NULL) continue;
      if (m.incoming) MPI_Cancel(&m.parts[i]);
      MPI_Request_free(&m.parts[i]);
    }
    release(id);
  }

  void announce(const std::string& notice) override {
    notices_sent_.push_back(notice.substr(0, kMaxNotice));  // kept until the process ends: nobody waits for the sends
    std::string& kept = notices_sent_.back();
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      MPI_Request request;
      const int bytes = static_cast<int>(kept.size());
      if (MPI_Isend(kept.data(), bytes, MPI_BYTE, r, kNoticeTag, notices_, &request) == MPI_SUCCESS)
        MPI_Request_free(&request);
    }
  }
  bool heard(std::string* notice) override {
    int flag = 0, count = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, kNoticeTag, notices_, &flag, &status) != MPI_SUCCESS || !flag) return false;
    MPI_Get_count(&status, MPI_BYTE, &count);
    notice->assign(static_cast<size_t>(count), '\0');
    return MPI_Recv(&(*notice)[0], count, MPI_BYTE, status.MPI_SOURCE, kNoticeTag, notices_, MPI_STATUS_IGNORE) ==
           MPI_SUCCESS;
  }

 private:
  struct Message {
    std::vector<MPI_Request> parts;
    size_t first = 0;  // the parts before it are complete
    size_t bytes = 0;
    int peer = -1;
    bool incoming = false, in_use = false;
  };

  template <class StartPart>
  Request start(int peer, size_t bytes, bool incoming, StartPart start_part) {
    if (free_.empty()) {
      free_.push_back(static_cast<Request>(messages_.size()));
      messages_.emplace_back();
    }
    const Request id = free_.back();
    free_.pop_back();
    Message& m = messages_[static_cast<size_t>(id)];
    m.parts.assign(bytes / max_message_ + 1, MPI_REQUEST_NULL);
    m.first = 0;
    m.bytes = bytes;
    m.peer = peer;
    m.incoming = incoming;
    m.in_use = true;
    for (size_t i = 0; i < m.parts.size(); ++i)
      start_part(i * max_message_, static_cast<int>(std::min(max_message_, bytes - i * max_message_)), &m.parts[i]);
    return id;
  }
  void release(Request id) {
    messages_[static_cast<size_t>(id)].in_use = false;
    free_.push_back(id);
  }
  [[noreturn]] void refuse(const Message& m, int code) {
    int kind = 0;
    MPI_Error_class(code, &kind);
    if (kind == MPI_ERR_TRUNCATE) wrong_size(m, max_message_);
    check_mpi(code, m.incoming ? "MPI_Irecv" : "MPI_Isend");
    fail(Code::Internal, "unreachable");
  }
  // `part`: the bytes of the part that came, a full one where more follow or where they did not fit.
  [[noreturn]] void wrong_size(const Message& m, size_t part) {
    const std::string got = part < max_message_ ? text(m.first * max_message_ + part) : "more";
    fail(Code::InvalidArgument, "[transport] rank ", rank_, "/", size_, " expects ", m.bytes, " bytes from rank ", m.peer,
         ", which sent ", got, ". Fix: call collectives with the same shapes on every rank.");
  }

  const size_t max_message_;
  MPI_Comm comm_ = MPI_COMM_NULL, notices_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  std::vector<Message> messages_;
  std::vector<Request> free_;
  std::list<std::string> notices_sent_;
};

py::capsule make_transport(long handle, size_t max_message) {
  check(max_message >= 1 && max_message <= kMaxMessage, "[transport] max_message must be 1 to ", kMaxMessage, " bytes");
  const MPI_Comm original = MPI_Comm_f2c(static_cast<MPI_Fint>(handle));
  auto* transport = new std::shared_ptr<Transport>(std::make_shared<MpiTransport>(original, max_message));
  return py::capsule(transport, "ringflow.Transport/2",
                     [](void* p) { delete static_cast<std::shared_ptr<Transport>*>(p); });
}

std::string library_version() {
  char version[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(version, &length);
  return std::string(version, static_cast<size_t>(length));
}

}  // namespace
}  // namespace rf

PYBIND11_MODULE(_mpi, m) {
  m.doc() = "Point-to-point over the MPI that this module was built for. Import mpi4py.MPI first.";
  m.attr("built_version") = RF_MPI_BUILT;
  m.def("library_version", &rf::library_version, "What the MPI library in this process says it is.");
  m.def("transport", &rf::make_transport, py::arg("handle"), py::arg("max_message") = rf::kMaxMessage,
        "A capsule with a transport over the communicator of that Fortran handle (comm.py2f()). Collective.");
}
