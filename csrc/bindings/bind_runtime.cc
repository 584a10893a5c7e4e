// Resources, Executable and the switches of the kernels. The GIL is released while a graph is planned (pinning may
// wait for other ranks) and while it runs.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/parallel.h"
#include "base/peak.h"
#include "base/simd.h"
#include "bindings/numpy.h"
#include "kernels/kernel.h"
#include "runtime/executor.h"
#include "runtime/partial_run.h"
#include "runtime/partitions.h"
#include "runtime/topology.h"

namespace rf {
namespace {

std::shared_ptr<Variable> find_variable(const Resources& resources, const std::string& name,
                                        const std::string& container) {
  const std::shared_ptr<Resource> resource = resources.find(container, name);
  if (!resource)
    fail(Code::NotFound, "[Resources] container '", container, "' has no variable '", name,
         "'. Fix: run its initializer first");
  auto variable = std::dynamic_pointer_cast<Variable>(resource);
  check(variable != nullptr, "[Resources] '", name, "' in container '", container, "' is not a variable");
  return variable;
}

py::object get_variable(const Resources& resources, const std::string& name, const std::string& container) {
  const Tensor& value = find_variable(resources, name, container)->value;
  if (!value.initialized()) fail(Code::FailedPrecondition, "Attempting to use uninitialized value ", name);
  Tensor copy(value.dtype(), value.shape());
  if (value.bytes() != 0) std::memcpy(copy.raw(), value.raw(), value.bytes());
  return to_array(copy);
}

void set_variable(Resources& resources, const std::string& name, py::handle array, const std::string& container) {
  const Tensor from = borrow_array(array, "the value of a variable");
  Tensor& to = resources.find_or_create<Variable>(container, name)->value;
  if (!to.initialized())
    to = Tensor(from.dtype(), from.shape());
  else
    check(to.dtype() == from.dtype() && to.shape() == from.shape(), "[Resources] variable '", name, "' is ",
          name_of(to.dtype()), " ", to.shape(), ": received ", name_of(from.dtype()), " ", from.shape());
  if (from.bytes() != 0) std::memcpy(to.raw(), from.raw(), from.bytes());
}

[[noreturn]] void refuse_feed(const Argument& a, size_t i, py::handle feed) {
  const std::string where =
      text("feed ", i, " ('", a.name, "') must be a C-contiguous NumPy array of ", name_of(a.dtype), ": received ");
  if (!is_array(feed)) throw py::type_error(where + Py_TYPE(feed.ptr())->tp_name);
  throw py::type_error(where + py::str(feed.attr("dtype")).cast<std::string>() +
                       (is_dense(feed) ? "" : ", not contiguous, not aligned or of too many dimensions"));
}

// The feeds of one run as tensors, and a hold on the arrays: the list may change while the GIL is released.
class Feeds {
 public:
  Feeds(const std::vector<Argument>& arguments, py::handle feeds) {
    if (!PyList_Check(feeds.ptr()) && !PyTuple_Check(feeds.ptr()))
      throw py::type_error(text("feeds must be a list: received ", Py_TYPE(feeds.ptr())->tp_name));
    const size_t n = static_cast<size_t>(PySequence_Fast_GET_SIZE(feeds.ptr()));
    PyObject** items = PySequence_Fast_ITEMS(feeds.ptr());
    tensors_.resize(n);
    arrays_.reserve(n);
    for (size_t i = 0; i < n; ++i) {
      const py::handle feed = items[i];
      if (i >= arguments.size() || arguments[i].name.empty()) continue;  // nothing reads it
      DType dtype = is_array(feed) && is_dense(feed) ? dtype_of_array(feed) : DType::Invalid;
      if (dtype == DType::UInt16 && arguments[i].dtype == DType::BFloat16) dtype = DType::BFloat16;
      if (dtype != arguments[i].dtype) refuse_feed(arguments[i], i, feed);
      tensors_[i] = dtype == DType::String ? string_tensor(feed) : borrow_array(feed, dtype);
      arrays_.push_back(py::reinterpret_borrow<py::object>(feed));
    }
  }
  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  std::vector<Tensor> tensors_;
  std::vector<py::object> arrays_;
};

// Cheaper than py::gil_scoped_release, which looks up pybind11's own thread state.
//
// A daemon thread may come back when the interpreter is ending. Python then makes the thread exit, by an unwinding that
// must not pass through C++ (it would end the program): such a thread stays here until the process is gone.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

py::list to_list(const std::vector<Tensor>& tensors) {
  py::list list(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i)
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), to_array(tensors[i]).release().ptr());
  return list;
}

py::list to_list(const std::vector<Call>& calls) {
  py::list list;
  for (const Call& call : calls) {
    py::list outputs;
    for (const Call::Output& o : call.outputs)
      outputs.append(py::make_tuple(
          name_of(o.dtype), py::tuple(py::cast(std::vector<int64_t>(o.shape.begin(), o.shape.end()))), o.bytes));
    list.append(py::make_tuple(call.node->name, call.start_ns, call.end_ns, call.thread, outputs, call.node->op,
                               call.node->inputs, call.node->device));
  }
  return list;
}

// Whether the main thread has a signal to see to, such as Ctrl-C; its exception is then set. Called without the GIL.
bool interrupted() {
  py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

// What `run` returns, called without the GIL.
template <class F>
auto limited(int64_t timeout_ms, Cancellation* cancellation, F&& run) {
  const RunOptions options{timeout_ms, cancellation, &interrupted};
  try {
    WithoutGil released;
    return run(options);
  } catch (const Error&) {
    if (PyErr_Occurred()) throw py::error_already_set();  // KeyboardInterrupt rather than Cancelled
    throw;
  }
}

// `Runs`: Executable or Partitions.
template <class Runs>
py::list run(Runs& executable, py::handle feeds, int64_t timeout_ms, Cancellation* cancellation) {
  const Feeds arguments(executable.arguments(), feeds);
  return to_list(limited(timeout_ms, cancellation,
                         [&](const RunOptions& options) { return executable.run(arguments.tensors(), options); }));
}

// `run`, or None where a feed is not an array of the planned dtype and shape.
template <class Runs>
py::object offer(Runs& executable, py::handle feeds, int64_t timeout_ms, Cancellation* cancellation) {
  const std::vector<Argument>& arguments = executable.arguments();
  if (!PyList_Check(feeds.ptr()) && !PyTuple_Check(feeds.ptr())) return py::none();
  if (static_cast<size_t>(PySequence_Fast_GET_SIZE(feeds.ptr())) != arguments.size()) return py::none();
  PyObject** items = PySequence_Fast_ITEMS(feeds.ptr());
  for (size_t i = 0; i < arguments.size(); ++i)
    if (arguments[i].name.empty() || !is_plain_array(items[i], arguments[i].dtype, arguments[i].shape)) return py::none();
  return run(executable, feeds, timeout_ms, cancellation);
}

py::tuple run_timed(Executable& executable, py::handle feeds, int64_t timeout_ms, Cancellation* cancellation) {
  const Feeds arguments(executable.arguments(), feeds);
  std::vector<Call> calls;
  const std::vector<Tensor> results = limited(timeout_ms, cancellation, [&](const RunOptions& options) {
    return executable.run_timed(arguments.tensors(), calls, options);
  });
  return py::make_tuple(to_list(results), to_list(calls));
}

py::tuple run_parts_timed(Partitions& partitions, py::handle feeds, int64_t timeout_ms, Cancellation* cancellation) {
  const Feeds arguments(partitions.arguments(), feeds);
  std::vector<std::vector<Call>> calls;
  const std::vector<Tensor> results = limited(timeout_ms, cancellation, [&](const RunOptions& options) {
    return partitions.run_timed(arguments.tensors(), calls, options);
  });
  py::list lists;
  for (const std::vector<Call>& part : calls) lists.append(to_list(part));
  return py::make_tuple(to_list(results), lists);
}

template <class Runs>
std::shared_ptr<PartialRun> begin(std::shared_ptr<Runs> executable) {
  return std::make_shared<PartialRun>([executable](const RunOptions& options) { executable->run({}, options); });
}

py::object shape_or_none(const PartialShape& shape) {
  if (shape.unknown_rank) return py::none();
  py::tuple dims(shape.dims.size());
  for (size_t i = 0; i < shape.dims.size(); ++i)
    dims[i] = shape.dims[i] < 0 ? py::object(py::none()) : py::int_(shape.dims[i]);
  return dims;
}

py::list arguments(const Executable& executable) {
  py::list list;
  for (const Argument& a : executable.arguments())
    list.append(py::make_tuple(a.name, name_of(a.dtype), shape_or_none(a.shape)));
  return list;
}

py::list kernels() {
  py::list list;
  for (const auto& [op, dtypes] : registered_kernels()) {
    py::list names;
    for (DType d : dtypes) names.append(name_of(d));
    list.append(py::make_tuple(op, names));
  }
  return list;
}

size_t parse(const py::bytes& graph_def) {
  const std::string_view bytes = graph_def;
  const GraphDef graph = parse_graph(bytes.data(), bytes.size());
  link(graph.nodes);
  return graph.nodes.size();
}

void limit_isa_by_name(const std::string& name) {
  for (Isa most : {Isa::Baseline, Isa::Avx2, Isa::Avx512})
    if (name == name_of(most)) return limit_isa(most);
  throw py::value_error("isa must be 'baseline', 'avx2' or 'avx512': received '" + name + "'");
}

}  // namespace

void bind_runtime(py::module_& m) {
  py::class_<Resources, std::shared_ptr<Resources>>(m, "Resources")
      .def(py::init<>())
      .def("names", &Resources::names, "Every (container, name), sorted.")
      .def("reset", &Resources::reset, py::arg("container") = "", "Drops a container and all in it.")
      .def("get", &get_variable, py::arg("name"), py::arg("container") = "", "A copy of a variable's value.")
      .def("set", &set_variable, py::arg("name"), py::arg("value"), py::arg("container") = "",
           "Sets a variable, made here if need be. Not while a graph that uses it runs.");

  py::class_<Cancellation, std::shared_ptr<Cancellation>>(m, "Cancellation")
      .def(py::init<>())
      .def("cancel", &Cancellation::cancel, py::call_guard<py::gil_scoped_release>(),
           "Ends all runs that were given this object, and those to come, as Cancelled.")
      .def("cancelled", &Cancellation::cancelled);

  py::class_<InterOpPool, std::shared_ptr<InterOpPool>>(m, "InterOpPool")
      .def(py::init<int>(), py::arg("threads"), "`threads` in all, the calling one included.");

  py::class_<Executable, std::shared_ptr<Executable>>(m, "Executable")
      .def(py::init([](const py::bytes& graph_def, std::shared_ptr<Resources> resources, std::shared_ptr<InterOpPool> pool) {
             const std::string_view bytes = graph_def;
             WithoutGil released;
             return std::make_shared<Executable>(bytes.data(), bytes.size(), std::move(resources), std::move(pool));
           }),
           py::arg("graph_def"), py::arg("resources"), py::arg("pool") = nullptr)
      .def("run", &run<Executable>, py::arg("feeds"), py::arg("timeout_ms") = 0, py::arg("cancellation") = nullptr)
      .def("offer", &offer<Executable>, py::arg("feeds"), py::arg("timeout_ms") = 0, py::arg("cancellation") = nullptr,
           "As run; None where the feeds are not all arrays of the planned dtypes and shapes.")
      .def("run_timed", &run_timed, py::arg("feeds"), py::arg("timeout_ms") = 0, py::arg("cancellation") = nullptr,
           "(results, [(node, start_ns, end_ns, thread, [(dtype, shape, bytes)])]): the calls of kernels, by start.")
      .def("arguments", &arguments, "(name, dtype, shape) by index; name '' where nothing reads the feed.")
      .def("results",
           [](const Executable& e) {
             py::list names;
             for (DType d : e.result_dtypes()) names.append(name_of(d));
             return names;
           },
           "The dtype of each result.")
      .def("describe", &Executable::describe, "The plan as text, a line for each node in order of execution.")
      .def("arena_bytes", &Executable::arena_bytes)
      .def("num_steps", &Executable::num_steps);

  py::class_<Partitions, std::shared_ptr<Partitions>>(m, "Partitions")
      .def(py::init([](const std::vector<py::bytes>& graph_defs, std::vector<std::vector<int>> fetches,
                       std::shared_ptr<Resources> resources) {
             const std::vector<std::string> parts(graph_defs.begin(), graph_defs.end());
             WithoutGil released;
             return std::make_shared<Partitions>(parts, std::move(fetches), std::move(resources));
           }),
           py::arg("graph_defs"), py::arg("fetches"), py::arg("resources"))
      .def("run", &run<Partitions>, py::arg("feeds"), py::arg("timeout_ms") = 0, py::arg("cancellation") = nullptr)
      .def("offer", &offer<Partitions>, py::arg("feeds"), py::arg("timeout_ms") = 0, py::arg("cancellation") = nullptr,
           "As Executable.offer.")
      .def("run_timed", &run_parts_timed, py::arg("feeds"), py::arg("timeout_ms") = 0, py::arg("cancellation") = nullptr,
           "As Executable.run_timed, with a list of calls for each partition.")
      .def("describe", [](const Partitions& p) {
        std::vector<std::string> texts;
        for (size_t i = 0; i < p.size(); ++i) texts.push_back(p.part(i).describe());
        return texts;
      });

  py::class_<PartialRun, std::shared_ptr<PartialRun>>(m, "PartialRun")
      .def(py::init([](std::shared_ptr<Executable> executable) { return begin(std::move(executable)); }), py::arg("executable"))
      .def(py::init([](std::shared_ptr<Partitions> partitions) { return begin(std::move(partitions)); }), py::arg("partitions"))
      .def("feed",
           [](PartialRun& run, const std::string& key, py::handle array) {
             const DType dtype = dtype_of_array(array);
             run.feed(key, dtype == DType::String ? string_tensor(array) : borrow_array(array, dtype));
           },
           py::arg("key"), py::arg("array"))
      .def("fetch",
           [](PartialRun& run, const std::vector<std::string>& keys, int64_t timeout_ms, Cancellation* cancellation) {
             return to_list(limited(timeout_ms, cancellation,
                                    [&](const RunOptions& options) { return run.fetch(keys, options); }));
           },
           py::arg("keys"), py::arg("timeout_ms") = 0, py::arg("cancellation") = nullptr)
      .def("cancel", &PartialRun::cancel, py::call_guard<py::gil_scoped_release>());

  m.def("kernels", &kernels, "(op, [dtype names]) of every kernel; no names: any dtype.");
  m.def("kernel_dtype_attr", &dtype_attr, py::arg("op"), "The attr that selects the kernel of an op; '' where none does.");
  m.def("parse", &parse, py::arg("graph_def"), "The number of nodes of a GraphDef whose inputs all resolve.");
  m.def("isa", [] { return name_of(isa()); }, "The instruction set that the kernels use.");
  m.def("limit_isa", &limit_isa_by_name, py::arg("name"), "Caps isa() at 'baseline', 'avx2' or 'avx512'.");
  m.def("multiply_adds", &multiply_adds, py::arg("steps"), py::call_guard<py::gil_scoped_release>(),
        "Multiplies and adds between registers; the number of floating-point operations that it did.");
  m.def("set_intra_op_threads", &set_intra_op_threads, py::arg("threads"));
  m.def("intra_op_threads", &intra_op_threads);
}

}  // namespace rf
