#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace rf {

void bind_collectives(py::module_&) {}

}  // namespace rf
