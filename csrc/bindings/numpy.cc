#include "bindings/numpy.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace rf {
namespace {

using Api = py::detail::npy_api;

constexpr size_t kCopyBytes = 1024;  // below, a copy costs less than a capsule

const py::detail::PyArray_Proxy* proxy(py::handle array) { return py::detail::array_proxy(array.ptr()); }

int numpy_type(DType dtype) {
  switch (dtype) {
    case DType::Float: return Api::NPY_FLOAT_;
    case DType::Double: return Api::NPY_DOUBLE_;
    case DType::Int32: return Api::NPY_INT32_;
    case DType::UInt8: return Api::NPY_UINT8_;
    case DType::Int16: return Api::NPY_INT16_;
    case DType::Int8: return Api::NPY_INT8_;
    case DType::Int64: return Api::NPY_INT64_;
    case DType::Bool: return Api::NPY_BOOL_;
    case DType::UInt16: return Api::NPY_UINT16_;
    case DType::Half: return 23;
    case DType::UInt32: return Api::NPY_UINT32_;
    case DType::UInt64: return Api::NPY_UINT64_;
    default: return -1;
  }
}

// A new reference, which PyArray_NewFromDescr takes over.
PyObject* numpy_descr(DType dtype) {
  if (dtype == DType::BFloat16) {
    py::list fields;
    fields.append(py::make_tuple("bfloat16", "<u2"));
    return py::dtype::from_args(fields).release().ptr();
  }
  const int type = numpy_type(dtype);
  if (type < 0) fail(Code::Unimplemented, name_of(dtype), " has no NumPy type");
  return Api::get().PyArray_DescrFromType_(type);
}

}  // namespace

DType dtype_of_array(py::handle array) { return dtype_of_descr(py::handle(proxy(array)->descr)); }

DType dtype_of_descr(py::handle type) {
  const auto* descr = py::detail::array_descriptor_proxy(type.ptr());
  if (descr->byteorder == '>') return DType::Invalid;
  switch (descr->type_num) {
    case Api::NPY_BOOL_: return DType::Bool;
    case Api::NPY_BYTE_: return DType::Int8;
    case Api::NPY_UBYTE_: return DType::UInt8;
    case Api::NPY_SHORT_: return DType::Int16;
    case Api::NPY_USHORT_: return DType::UInt16;
    case Api::NPY_INT_: return DType::Int32;
    case Api::NPY_UINT_: return DType::UInt32;
    case Api::NPY_LONG_:
    case Api::NPY_LONGLONG_: return DType::Int64;
    case Api::NPY_ULONG_:
    case Api::NPY_ULONGLONG_: return DType::UInt64;
    case Api::NPY_FLOAT_: return DType::Float;
    case Api::NPY_DOUBLE_: return DType::Double;
    case 23: return DType::Half;
    case 17: return DType::String;  // objects: bytes or str, see string_tensor
    case Api::NPY_VOID_:
      return py::reinterpret_borrow<py::dtype>(type).itemsize() == 2 ? DType::BFloat16 : DType::Invalid;
    default: return DType::Invalid;
  }
}

bool is_dense(py::handle array) {
  constexpr int wanted = Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_;
  return (proxy(array)->flags & wanted) == wanted && proxy(array)->nd <= Shape::kMaxRank;
}

bool is_plain_array(py::handle object, DType dtype, const PartialShape& shape) {
  if (reinterpret_cast<PyTypeObject*>(Py_TYPE(object.ptr())) != Api::get().PyArray_Type_ || !is_dense(object) ||
      dtype == DType::String || dtype == DType::BFloat16 || dtype_of_array(object) != dtype)
    return false;
  const auto* a = proxy(object);
  return !shape.unknown_rank && std::equal(shape.dims.begin(), shape.dims.end(), a->dimensions, a->dimensions + a->nd);
}

Tensor borrow_array(py::handle array, DType dtype) {
  const auto* a = proxy(array);
  return Tensor(dtype, Shape(a->dimensions, a->dimensions + a->nd), static_cast<void*>(a->data));
}

Tensor borrow_array(py::handle object, const char* what) {
  if (!is_array(object))
    throw py::type_error(text(what, " must be a NumPy array: received ", Py_TYPE(object.ptr())->tp_name));
  const DType dtype = dtype_of_array(object);
  if (dtype == DType::Invalid)
    throw py::type_error(
        text(what, " has no supported dtype: received ", py::str(object.attr("dtype")).cast<std::string>()));
  if (dtype == DType::String) throw py::type_error(text(what, " must be numbers: received an array of objects"));
  if (!is_dense(object))
    throw py::type_error(text(what, " must be C-contiguous, aligned and of at most ", Shape::kMaxRank, " dimensions"));
  return borrow_array(object, dtype);
}

Tensor string_tensor(py::handle array) {
  const auto* a = proxy(array);
  Tensor strings(DType::String, Shape(a->dimensions, a->dimensions + a->nd));
  PyObject** objects = reinterpret_cast<PyObject**>(a->data);
  for (int64_t i = 0; i < strings.num_elements(); ++i) {
    const py::handle object = objects[i];
    if (!PyBytes_Check(object.ptr()) && !PyUnicode_Check(object.ptr()))
      throw py::type_error(text("a string tensor holds bytes or str: received ", Py_TYPE(object.ptr())->tp_name));
    strings.data<std::string>()[i] = object.cast<std::string>();
  }
  return strings;
}

namespace {

py::object string_array(const Tensor& tensor) {
  py::list shape;
  for (int i = 0; i < tensor.rank(); ++i) shape.append(tensor.dim(i));
  py::object array = py::module_::import("numpy").attr("empty")(py::tuple(shape), "O");
  PyObject** objects = reinterpret_cast<PyObject**>(py::detail::array_proxy(array.ptr())->data);
  for (int64_t i = 0; i < tensor.num_elements(); ++i) {
    PyObject* old = objects[i];
    objects[i] = py::bytes(tensor.data<std::string>()[i]).release().ptr();
    Py_XDECREF(old);
  }
  return array;
}

}  // namespace

py::object to_array(const Tensor& tensor) {
  if (tensor.dtype() == DType::String) return string_array(tensor);
  const Api& api = Api::get();
  Py_intptr_t dims[Shape::kMaxRank];
  for (int i = 0; i < tensor.rank(); ++i) dims[i] = static_cast<Py_intptr_t>(tensor.dim(i));
  const size_t bytes = tensor.bytes();
  const bool share = tensor.buffer() && bytes > kCopyBytes;
  void* data = share ? const_cast<void*>(tensor.raw()) : nullptr;
  PyObject* raw = api.PyArray_NewFromDescr_(api.PyArray_Type_, numpy_descr(tensor.dtype()), tensor.rank(), dims,
                                            nullptr, data, share ? Api::NPY_ARRAY_WRITEABLE_ : 0, nullptr);
  if (!raw) throw py::error_already_set();
  py::object array = py::reinterpret_steal<py::object>(raw);
  if (!share) {
    if (bytes != 0) std::memcpy(py::detail::array_proxy(raw)->data, tensor.raw(), bytes);
    return array;
  }
  tensor.buffer()->ref();
  PyObject* owner = PyCapsule_New(tensor.buffer(), nullptr, [](PyObject* capsule) {
    static_cast<Buffer*>(PyCapsule_GetPointer(capsule, nullptr))->unref();
  });
  if (!owner) {
    tensor.buffer()->unref();
    throw py::error_already_set();
  }
  if (api.PyArray_SetBaseObject_(raw, owner) != 0) throw py::error_already_set();  // takes over `owner`
  return array;
}

}  // namespace rf
