// NumPy arrays as tensors and back, through NumPy's C interface: no cast of pybind11 on the path of a run.
// The caller holds the GIL.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "base/partial_shape.h"
#include "base/tensor.h"

namespace rf {

namespace py = pybind11;

inline bool is_array(py::handle object) { return py::detail::npy_api::get().PyArray_Check_(object.ptr()); }

// DType::Invalid for a type that the runtime does not have. A record or raw type of two bytes is bfloat16, which
// NumPy lacks.
DType dtype_of_array(py::handle array);
DType dtype_of_descr(py::handle dtype);  // of a numpy.dtype

// The array's memory as a tensor, borrowed: keep the array alive. Only for dense, aligned, native arrays.
bool is_dense(py::handle array);
Tensor borrow_array(py::handle array, DType dtype);

// The bytes and strs of a dense array of objects, as a tensor of its own. TypeError where it holds others.
Tensor string_tensor(py::handle array);

// Whether the object is a dense array, of no subclass, of just this dtype and shape. Strings and bfloat16 never are: their
// arrays may hold anything.
bool is_plain_array(py::handle object, DType dtype, const PartialShape& shape);

// The same with its checks: TypeError, in which `what` names the argument.
Tensor borrow_array(py::handle object, const char* what);

// An array that shares the tensor's memory and keeps it alive; a copy where it is small or borrowed.
// bfloat16 becomes the record type [('bfloat16', '<u2')].
py::object to_array(const Tensor& tensor);

}  // namespace rf
