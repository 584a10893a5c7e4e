#include "runtime/signature.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "kernels/movers.h"

namespace rf {
namespace {

constexpr int64_t kMaxIndex = 1 << 16;  // of _Arg and _Retval: a forged one must not size a list

std::string join(const std::vector<DType>& dtypes) {
  std::string s;
  for (DType d : dtypes) s += (s.empty() ? "" : ", ") + std::string(name_of(d));
  return s;
}

}  // namespace

bool native(const std::string& op) {
  static const char* const ops[] = {"_Arg", "_Retval", "Const", "NoOp", "_Gate"};
  return std::find(std::begin(ops), std::end(ops), op) != std::end(ops);
}

const KernelEntry* select_kernel(const Node& node) {
  const std::string& attr = dtype_attr(node.op);
  const DType dtype = attr.empty() ? DType::Invalid : node.attr<DType>(attr);
  if (const KernelEntry* entry = find_kernel(node.op, dtype)) return entry;
  if (node.op == "Placeholder")
    throw Error(Code::InvalidArgument,
                text("You must feed a value for placeholder tensor '", node.name, "'. Fix: add it to feed_dict"),
                node.name);
  for (const auto& [op, dtypes] : registered_kernels()) {
    if (op != node.op) continue;
    throw Error(Code::Unimplemented,
                text("[", node.op, "] there is no kernel for ", name_of(dtype), " (attr ", attr, " of node '",
                     node.name, "'), only for ", join(dtypes), ". Fix: cast the inputs to one of these"),
                node.name);
  }
  throw Error(Code::Unimplemented, text("[", node.op, "] there is no kernel of this op (node '", node.name, "')"),
              node.name);
}

Kernel make_kernel(const Node& node, const KernelEntry& entry) {
  return with_node(node, [&] { return check_moved(node, entry.make(node)); });
}

void check_output(const Node& reader, const Node& writer, int output, int num_outputs) {
  check(output < num_outputs, "[graph] node '", reader.name, "' (", reader.op, ") reads '", writer.name, ":", output,
        "', but '", writer.name, "' (", writer.op, ") has ", num_outputs, " outputs",
        writer.has("_output_dtypes") ? "" : " (it has no attr _output_dtypes)");
}

std::vector<DType> output_dtypes(const Node& node) {
  if (node.op == "_Retval" || node.op == "NoOp" || node.op == "_Gate") return {};
  if (node.op == "_Arg") return {node.attr<DType>("T")};
  if (node.op == "Const") return {constant_of(node).dtype()};
  return node.list<DType>("_output_dtypes");
}

const Tensor& constant_of(const Node& node) {
  const auto it = node.attrs.find("value");
  if (it != node.attrs.end() && std::holds_alternative<std::monostate>(it->second))
    fail(Code::Unimplemented, "[Const] node '", node.name,
         "' holds a tensor of a dtype that the runtime does not have (", name_of(node.attr<DType>("dtype", DType::Invalid)), ")");
  return node.attr<Tensor>("value");
}

size_t index_of(const Node& node) {
  const int64_t index = node.attr<int64_t>("index");
  check(index >= 0 && index < kMaxIndex, "[", node.op, "] an index lies in [0, ", kMaxIndex, "): node '", node.name,
        "' has ", index);
  return static_cast<size_t>(index);
}

void CallSignature::add_argument(const Node& arg, DType dtype, const PartialShape& shape, int value) {
  const size_t index = index_of(arg);
  if (arguments.size() <= index) arguments.resize(index + 1);
  Argument& argument = arguments[index];
  check(argument.name.empty(), "[_Arg] indices are unique: nodes '", argument.name, "' and '", arg.name,
        "' both have ", index);
  argument = {arg.name, dtype, shape, value};
}

void CallSignature::add_result(const Node& retval, DType dtype) {
  const size_t index = index_of(retval);
  if (result_dtypes.size() <= index) result_dtypes.resize(index + 1, DType::Invalid);
  check(result_dtypes[index] == DType::Invalid, "[_Retval] indices are unique: node '", retval.name, "' repeats ", index);
  check(size_of(dtype) != 0 || dtype == DType::String, "[_Retval] ", name_of(dtype), " cannot be fetched: node '",
        retval.name, "'");
  result_dtypes[index] = dtype;
}

void CallSignature::check_results() const {
  for (size_t i = 0; i < result_dtypes.size(); ++i)
    check(result_dtypes[i] != DType::Invalid, "[_Retval] indices start at 0 without gaps: there is no ", i);
}

void CallSignature::check_feeds(const std::vector<Tensor>& feeds) const {
  check(feeds.size() >= arguments.size(), "[run] the graph takes ", arguments.size(), " feeds: received ", feeds.size());
  for (size_t i = 0; i < arguments.size(); ++i)
    check(arguments[i].name.empty() || feeds[i].dtype() == arguments[i].dtype, "[run] feed ", i, " ('",
          arguments[i].name, "') must be ", name_of(arguments[i].dtype), ": received ", name_of(feeds[i].dtype()));
}

}  // namespace rf
