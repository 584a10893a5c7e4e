// The code of the SystemExit that ends the program: `raise SystemExit(3)` passes by sys.exit, and Python shows no SystemExit
// to sys.excepthook. It can be seen when the exception is freed: an exception that was caught is freed while some
// frame runs, the one that nobody caught when none does, before the functions of atexit are called.
//
// Threads: whoever holds the GIL. Source: CPython, Python/pythonrun.c, handle_system_exit.
#include <pybind11/pybind11.h>

#include <utility>

namespace py = pybind11;

namespace rf {
namespace {

destructor free_as_before = nullptr;
unsigned long main_thread = 0;
PyObject* seen = nullptr;

void free_and_look(PyObject* self) {
  const bool ends = PyEval_GetGlobals() == nullptr && PyThread_get_thread_ident() == main_thread;
  PyObject* code = ends ? reinterpret_cast<PySystemExitObject*>(self)->code : nullptr;
  Py_XINCREF(code);
  free_as_before(self);  // and with it the exceptions that it was raised during, which are not the end
  if (code) std::swap(seen, code);
  Py_XDECREF(code);
}

// Once a process; again changes nothing.
void watch_exit(unsigned long main_thread_ident) {
  main_thread = main_thread_ident;
  auto* type = reinterpret_cast<PyTypeObject*>(PyExc_SystemExit);
  if (free_as_before) return;
  free_as_before = type->tp_dealloc;
  type->tp_dealloc = free_and_look;
}

py::object exit_code(const py::object& otherwise) {
  return seen ? py::reinterpret_borrow<py::object>(seen) : otherwise;
}

}  // namespace

void bind_exit_code(py::module_& m) {
  m.def("watch_exit", &watch_exit, py::arg("main_thread_ident"), "From now on `exit_code` can tell.");
  m.def("exit_code", &exit_code, py::arg("otherwise"),
        "For functions of atexit: the code of the SystemExit that ends the program, `otherwise` where none does.");
}

}  // namespace rf
