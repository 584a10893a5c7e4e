// Communicators and buckets on NumPy arrays. The GIL is released in every call that may wait for another rank.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/numpy.h"
#include "collectives/communicator.h"
#include "collectives/deadline.h"
#include "collectives/loopback.h"
#include "collectives/shared_memory.h"
#include "runtime/collective_ops.h"

namespace rf {
namespace {

using Released = py::call_guard<py::gil_scoped_release>;

Tensor borrow_writable(py::handle object, const char* what) {
  Tensor t = borrow_array(object, what);
  if (!py::reinterpret_borrow<py::array>(object).writeable()) throw py::value_error(text(what, " must be writable"));
  return t;
}

CommunicatorOptions options_of(const std::string& algorithm, double timeout_s, double warn_s, bool background) {
  CommunicatorOptions options;
  options.algorithm = algorithm_of(algorithm);
  options.timeout_s = timeout_s;
  options.warn_s = warn_s;
  options.background = background;
  return options;
}

std::vector<std::shared_ptr<Communicator>> loopback(int size, const std::string& algorithm, double timeout_s,
                                                    double warn_s, const std::vector<int>& nodes) {
  const auto world = make_loopback_world(size, nodes);
  CommunicatorOptions options = options_of(algorithm, timeout_s, warn_s, true);
  options.nodes = nodes;
  options.join = [](Transport& t, const std::vector<int>&, std::string*) { return loopback_windows(t); };
  std::vector<std::shared_ptr<Communicator>> ranks;
  for (int r = 0; r < size; ++r)
    ranks.push_back(
        std::make_shared<Communicator>(loopback_transport(world, r), loopback_windows(world, r), options));
  return ranks;
}

// The transport in the capsule, as ringflow._mpi made it. Collective.
std::shared_ptr<Communicator> over(const py::capsule& capsule, bool shared_memory, const std::string& job,
                                   const std::string& algorithm, double timeout_s, double warn_s, bool background,
                                   std::vector<int> nodes) {
  const char* expected = "ringflow.Transport/2";
  if (std::string(capsule.name() ? capsule.name() : "") != expected)
    throw py::value_error(
        text("the transport must be a capsule '", expected, "'. Fix: build ringflow._mpi and _core together."));
  std::shared_ptr<Transport> transport = *capsule.get_pointer<std::shared_ptr<Transport>>();
  CommunicatorOptions options = options_of(algorithm, timeout_s, warn_s, background);
  if (nodes.empty()) nodes.assign(static_cast<size_t>(transport->size()), 0);
  options.nodes = nodes;
  options.join = [job, timeout_s](Transport& t, const std::vector<int>& on, std::string* problem) {
    return join_node_memory(t, on, job, timeout_s, problem);
  };
  const bool wants_windows = options.algorithm == Algorithm::Auto || options.algorithm == Algorithm::OnePass ||
                             options.algorithm == Algorithm::Hierarchical;
  const bool neighbours = std::set<int>(nodes.begin(), nodes.end()).size() < nodes.size();
  py::gil_scoped_release released;
  std::shared_ptr<Windows> windows;
  if (shared_memory && neighbours && wants_windows) {
    std::string problem;
    windows = options.join(*transport, nodes, &problem);
    if (!windows && transport->rank() == 0)
      say(text("ringflow: warning: no shared memory between the ranks (", problem,
               "); using the slower algorithms over ", transport->name()));
  }
  return std::make_shared<Communicator>(std::move(transport), std::move(windows), options);
}

// Memory of a bucket as an array that keeps the bucket alive.
py::array bucket_view(const py::object& bucket, void* data, const py::object& type, bool writable) {
  const py::dtype dtype = py::dtype::from_args(type);
  const auto items = static_cast<py::ssize_t>(bucket.cast<Bucket&>().bytes()) / dtype.itemsize();
  py::array view(dtype, std::vector<py::ssize_t>{items}, data, bucket);
  if (!writable) py::detail::array_proxy(view.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return view;
}

void bind_bucket(py::module_& m) {
  py::class_<Bucket, std::shared_ptr<Bucket>>(m, "Bucket", "Pinned memory for one recurring allreduce.")
      .def_property_readonly("bytes", &Bucket::bytes)
      .def_property_readonly("shared", &Bucket::shared, "Whether the ranks read each other's memory in place.")
      .def("input",
           [](const py::object& b, const py::object& d) { return bucket_view(b, b.cast<Bucket&>().input(), d, true); },
           py::arg("dtype"), "This rank's contribution, as a flat array.")
      .def("result",
           [](const py::object& b, const py::object& d) {
             return bucket_view(b, const_cast<void*>(b.cast<Bucket&>().result()), d, false);
           },
           py::arg("dtype"), "The reduced values, as a flat read-only array.");
}

void allreduce(Communicator& c, py::handle array, const std::string& op, const std::string& algorithm) {
  Tensor t = borrow_writable(array, "the array to reduce");
  const Reduction reduction = reduction_of(op);
  const Algorithm chosen = algorithm_of(algorithm);
  py::gil_scoped_release released;
  c.allreduce(t.raw(), t.num_elements(), t.dtype(), reduction, chosen);
}

void reduce_to_root(Communicator& c, py::handle array, const std::string& op, int root) {
  Tensor t = borrow_writable(array, "the array to reduce");
  const Reduction reduction = reduction_of(op);
  py::gil_scoped_release released;
  c.reduce(t.raw(), t.num_elements(), t.dtype(), reduction, root);
}

void reduce_scatter(Communicator& c, py::handle in, py::handle out, const std::vector<int64_t>& counts,
                    const std::string& op) {
  const Tensor from = borrow_array(in, "the array to reduce");
  Tensor to = borrow_writable(out, "the array for this rank's part");
  const Reduction reduction = reduction_of(op);
  int64_t total = 0;
  for (int64_t n : counts) total += n;
  check(counts.size() == static_cast<size_t>(c.size()) && total == from.num_elements() && from.dtype() == to.dtype() &&
            counts[static_cast<size_t>(c.rank())] == to.num_elements(),
        "[reduce_scatter] the counts do not match the arrays");
  py::gil_scoped_release released;
  c.reduce_scatter(from.raw(), to.raw(), counts, from.dtype(), reduction);
}

void alltoallv(Communicator& c, py::handle in, const std::vector<size_t>& in_bytes, py::handle out,
               const std::vector<size_t>& out_bytes) {
  const Tensor from = borrow_array(in, "the array to send");
  Tensor to = borrow_writable(out, "the array to receive into");
  size_t sent = 0, received = 0;
  for (size_t b : in_bytes) sent += b;
  for (size_t b : out_bytes) received += b;
  check(sent == from.bytes() && received == to.bytes(), "[alltoall] the byte counts do not match the arrays");
  py::gil_scoped_release released;
  c.alltoallv(from.raw(), in_bytes, to.raw(), out_bytes);
}

std::vector<std::string> algorithms(const Communicator& c) {
  std::vector<std::string> names;
  for (Algorithm a : c.algorithms()) names.emplace_back(name_of(a));
  return names;
}

// A row without a limit (None) must be the last one.
void set_selection(Communicator& c, const std::vector<std::pair<std::optional<size_t>, std::string>>& table) {
  std::vector<Selection::Row> rows;
  for (const auto& [up_to_bytes, name] : table)
    rows.push_back({up_to_bytes.value_or(std::numeric_limits<size_t>::max()), algorithm_of(name)});
  c.set_selection(Selection(std::move(rows)));
}

void broadcast(Communicator& c, py::handle array, int root) {
  Tensor t = borrow_writable(array, "the array to broadcast");
  py::gil_scoped_release released;
  c.broadcast(t.raw(), t.bytes(), root);
}

void allgatherv(Communicator& c, py::handle in, py::handle out, const std::vector<size_t>& bytes) {
  const Tensor from = borrow_array(in, "the array to gather");
  Tensor to = borrow_writable(out, "the gathered array");
  size_t total = 0;
  for (size_t b : bytes) total += b;
  check(bytes.size() == static_cast<size_t>(c.size()) && bytes[static_cast<size_t>(c.rank())] == from.bytes() &&
            total == to.bytes(),
        "[allgather] the byte counts do not match the arrays");
  py::gil_scoped_release released;
  c.allgatherv(from.raw(), to.raw(), bytes);
}

void send(Communicator& c, py::handle array, int to, int tag) {
  const Tensor t = borrow_array(array, "the array to send");
  py::gil_scoped_release released;
  c.send(t.raw(), t.bytes(), to, tag);
}

void receive(Communicator& c, py::handle array, int from, int tag) {
  Tensor t = borrow_writable(array, "the array to receive into");
  py::gil_scoped_release released;
  c.receive(t.raw(), t.bytes(), from, tag);
}

uint64_t start(Communicator& c, const std::shared_ptr<Bucket>& bucket, int64_t count, const py::object& dtype,
               const std::string& op, bool overlap) {
  return c.start(bucket, count, dtype_of_descr(py::dtype::from_args(dtype)), reduction_of(op), overlap);
}

void reduce_bucket(Communicator& c, Bucket& bucket, int64_t count, const py::dtype& dtype, const std::string& op) {
  const DType type = dtype_of_descr(dtype);
  const Reduction reduction = reduction_of(op);
  py::gil_scoped_release released;
  c.allreduce(bucket, count, type, reduction);
}

void set_peers(Communicator& c, const std::vector<std::tuple<std::string, int, bool>>& peers) {
  std::vector<Peer> made;
  for (const auto& [host, pid, same_node] : peers) made.push_back({host, pid, same_node});
  c.set_peers(std::move(made));
}

// What ranks must have in common to talk: the layouts of what they exchange, and a number for their protocol.
std::string abi() {
  constexpr int kProtocol = 2;
  return text(kProtocol, ".", sizeof(ControlBlock), ".", sizeof(Member), ".", sizeof(Signature));
}

}  // namespace

void bind_collectives(py::module_& m) {
  bind_bucket(m);
  py::class_<Communicator, std::shared_ptr<Communicator>>(m, "Communicator", "One rank's end of a group of ranks.")
      .def_static("loopback", &loopback, py::arg("size"), py::kw_only(), py::arg("algorithm") = "auto",
                  py::arg("timeout_s") = 600.0, py::arg("warn_s") = 30.0, py::arg("nodes") = std::vector<int>(),
                  "The communicators of `size` ranks that are threads of this process.")
      .def_static("over", &over, py::arg("transport"), py::kw_only(), py::arg("shared_memory"), py::arg("job"),
                  py::arg("algorithm") = "auto", py::arg("timeout_s") = 600.0, py::arg("warn_s") = 30.0,
                  py::arg("background") = true, py::arg("nodes") = std::vector<int>(),
                  "Collective. nodes: that of every rank, none for one node; its ranks use shared_memory if that is set.")
      .def_property_readonly("rank", &Communicator::rank)
      .def_property_readonly("size", &Communicator::size)
      .def_property_readonly("transport", &Communicator::transport_name)
      .def_property_readonly("algorithm", [](const Communicator& c) { return name_of(c.algorithm()); },
                             "What a long allreduce runs.")
      .def("algorithm_for", [](const Communicator& c, size_t bytes) { return name_of(c.algorithm(bytes)); },
           py::arg("bytes"))
      .def("algorithms", &algorithms)
      .def("set_selection", &set_selection, py::arg("table"))
      .def("bytes_sent", &Communicator::bytes_sent)
      .def_property_readonly("nodes", &Communicator::nodes)
      .def_property_readonly("shares_memory", &Communicator::shares_memory,
                             "Whether all ranks read each other's memory, so that buckets can be reduced in place.")
      .def("allreduce", &allreduce, py::arg("array"), py::arg("op"), py::arg("algorithm") = "auto", "In place.")
      .def("reduce", &reduce_to_root, py::arg("array"), py::arg("op"), py::arg("root"), "In place; scratch but on the root.")
      .def("reduce_scatter", &reduce_scatter, py::arg("array"), py::arg("out"), py::arg("counts"), py::arg("op"))
      .def("alltoallv", &alltoallv, py::arg("array"), py::arg("bytes"), py::arg("out"), py::arg("out_bytes"))
      .def("split", &Communicator::split, py::arg("color"), py::arg("key"), Released(), "Collective.")
      .def("broadcast", &broadcast, py::arg("array"), py::arg("root"), "In place.")
      .def("allgatherv", &allgatherv, py::arg("array"), py::arg("out"), py::arg("bytes"))
      .def("send", &send, py::arg("array"), py::arg("to"), py::arg("tag"))
      .def("recv", &receive, py::arg("array"), py::arg("source"), py::arg("tag"))
      .def("barrier", &Communicator::barrier, Released())
      .def("bucket", &Communicator::bucket, py::arg("bytes"), py::arg("in_place") = false, Released(),
           "Collective. in_place: all ranks meet (`barrier`) after reading a result, before one fills the bucket again.")
      .def("start", &start, py::arg("bucket"), py::arg("count"), py::arg("dtype"), py::arg("op"),
           py::arg("overlap") = true,
           "Starts the allreduce of a bucket's first `count` elements; a ticket for `wait`.")
      .def("wait", &Communicator::wait, py::arg("ticket"), Released())
      .def("reduce_bucket", &reduce_bucket, py::arg("bucket"), py::arg("count"), py::arg("dtype"), py::arg("op"),
           "start and wait in one call, which this thread runs itself. dtype: a numpy.dtype.")
      .def("abort", &Communicator::abort, py::arg("text"), Released())
      .def("leave", &Communicator::leave, Released())
      .def("tell", &Communicator::tell, Released())
      .def("wait_told", &Communicator::wait_told, py::arg("timeout_s"), Released())
      .def("aborted", &Communicator::aborted, Released())
      .def_property_readonly("aborted_by", &Communicator::aborted_by)
      .def_property_readonly("abort_text", &Communicator::abort_text)
      .def("set_peers", &set_peers, py::arg("peers"), "Of every rank (host, pid, whether it is on this node).")
      .def("supervise", &Communicator::supervise, Released(),
           "For a thread: blocks until 'stacks' are wanted of this rank, a peer has 'died', or all is 'closed'.")
      .def("close", &Communicator::close, Released());
  py::class_<Deadline>(m, "Deadline", "Ends the process with a report, unless it is cancelled in time.")
      .def(py::init<double, std::string, double, std::string>(), py::arg("warn_s"), py::arg("warning"),
           py::arg("limit_s"), py::arg("report"))
      .def("cancel", &Deadline::cancel, Released());
  // Not destroyed: it must outlive the interpreter, whose end waits in MPI_Finalize.
  m.def("warn_after", [](double seconds, const std::string& warning) { new Deadline(seconds, warning, 1e9, ""); },
        py::arg("seconds"), py::arg("warning"), "Says the warning, unless the process has ended before.");
  m.def("say", &say, py::arg("line"), "A line on stderr and in the log file.");
  m.def("note", &note, py::arg("text"), "For the log file alone.");
  m.def("log_to", &log_to, py::arg("path"), "Names the log file of this process; '': none.");
  m.attr("collectives_abi") = abi();
  m.def("set_communicator", &set_communicator, py::arg("resources"), py::arg("communicator"),
        "Gives the collective ops of graphs that run with these resources their communicator.");
}

}  // namespace rf
