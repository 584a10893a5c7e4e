// The Python module ringflow._core: the runtime and the collectives, and the one C++ exception as `_core.Error`.
#include <pybind11/pybind11.h>

#include "base/error.h"

namespace py = pybind11;

namespace rf {

void bind_runtime(py::module_& m);
void bind_collectives(py::module_& m);
void bind_io(py::module_& m);

namespace {

PyObject* error_type = nullptr;  // written once, at import

// Text from a damaged graph need not be UTF-8.
py::object to_str(const std::string& text) {
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

void bind_error(py::module_& m) {
  error_type = PyErr_NewExceptionWithDoc("ringflow._core.Error",
                                         "An error of the runtime. code: TensorFlow's status code; node: the "
                                         "graph node that failed, or ''.",
                                         PyExc_RuntimeError, nullptr);
  if (!error_type) throw py::error_already_set();
  m.attr("Error") = py::handle(error_type);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      py::object error = py::handle(error_type)(to_str(e.what()));
      error.attr("code") = static_cast<int>(e.code);
      error.attr("node") = to_str(e.node);
      PyErr_SetObject(error_type, error.ptr());
    }
  });
}

}  // namespace
}  // namespace rf

PYBIND11_MODULE(_core, m) {
  m.doc() = "ringflow's C++ runtime and collectives";
  rf::bind_error(m);
  rf::bind_runtime(m);
  rf::bind_collectives(m);
  rf::bind_io(m);
}
