// TFRecord files for Python. The GIL is released while files are read and written; an object serves one thread at a time,
// others that call it meanwhile wait.
#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/crc32c.h"
#include "base/error.h"
#include "io/record.h"

namespace py = pybind11;

namespace rf {
namespace {

// One lock for an object, and the error for use after close().
template <class T>
struct Guarded {
  explicit Guarded(std::unique_ptr<T> object) : object(std::move(object)) {}

  template <class F>
  auto use(F f) {
    py::gil_scoped_release release;
    std::lock_guard<std::mutex> lock(mutex);
    if (!object) fail(Code::FailedPrecondition, "[records] the file is closed. Fix: write or read before close()");
    return f(*object);
  }
  std::mutex mutex;
  std::unique_ptr<T> object;
};

using Writer = Guarded<RecordWriter>;
using Records = Guarded<RecordReader>;

}  // namespace

void bind_io(py::module_& m) {
  py::class_<Writer>(m, "RecordWriter")
      .def(py::init([](const std::string& path, const std::string& compression, int level) {
             return std::make_unique<Writer>(std::make_unique<RecordWriter>(path, compression_of(compression), level));
           }),
           py::arg("path"), py::arg("compression") = "", py::arg("level") = -1)
      .def("write",
           [](Writer& w, const py::bytes& record) {
             const auto view = static_cast<std::string_view>(record);  // held by the caller's frame
             w.use([&](RecordWriter& writer) { writer.write(view); });
           })
      .def("flush", [](Writer& w) { w.use([](RecordWriter& writer) { writer.flush(); }); })
      .def("close", [](Writer& w) {
        py::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(w.mutex);
        if (const auto writer = std::move(w.object)) writer->close();
      });
  py::class_<Records>(m, "RecordReader")
      .def(py::init([](const std::string& path, const std::string& compression) {
             return std::make_unique<Records>(std::make_unique<RecordReader>(path, compression_of(compression)));
           }),
           py::arg("path"), py::arg("compression") = "")
      .def("read", [](Records& r) -> py::object {
        std::string record;
        if (!r.use([&](RecordReader& reader) { return reader.read(&record); })) return py::none();
        return py::bytes(record);
      });
  m.def("crc32c", [](const py::bytes& data, uint32_t crc) {
    const auto view = static_cast<std::string_view>(data);
    return crc32c(view.data(), view.size(), crc);
  }, py::arg("data"), py::arg("crc") = 0);
}

}  // namespace rf
