#include "runtime/wire.h"

#include <utility>

#include "base/protobuf.h"
#include "runtime/tensor_proto.h"

namespace rf {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 31;  // protobuf's own limit on a message

class GraphReader {
 public:
  explicit GraphReader(const WireLimits& limits) : budget_{limits.expansion_bytes} {}

  GraphDef graph(Reader r) {
    GraphDef graph;
    while (r.next()) {
      switch (r.tag()) {
        case tag(1, Wire::Bytes): graph.nodes.push_back(node(r.message("NodeDef"))); break;
        case tag(4, Wire::Bytes): versions(r.message("VersionDef"), graph); break;
        default: r.skip();
      }
    }
    return graph;
  }

 private:
  static void versions(Reader r, GraphDef& graph) {
    while (r.next()) {
      switch (r.tag()) {
        case tag(1, Wire::Varint): graph.producer = r.integer(); break;
        case tag(2, Wire::Varint): graph.min_consumer = r.integer(); break;
        default: r.skip();
      }
    }
  }

  Node node(Reader r) {
    Node node;
    while (r.next()) {
      switch (r.tag()) {
        case tag(1, Wire::Bytes): node.name = r.string(); break;
        case tag(2, Wire::Bytes): node.op = r.string(); break;
        case tag(3, Wire::Bytes): node.inputs.push_back(r.string()); break;
        case tag(4, Wire::Bytes): node.device = r.string(); break;
        case tag(5, Wire::Bytes): attr_entry(r.message("NodeDef.attr"), node); break;
        default: r.skip();
      }
    }
    return node;
  }

  void attr_entry(Reader r, Node& node) {
    std::string key;
    AttrValue value;
    Reader body({}, "AttrValue");
    while (r.next()) {
      switch (r.tag()) {
        case tag(1, Wire::Bytes): key = r.string(); break;
        case tag(2, Wire::Bytes): body = r.message("AttrValue"); break;
        default: r.skip();
      }
    }
    node.attrs[key] = attr(body, key == "_output_dtypes");
  }

  AttrValue attr(Reader r, bool keep_refs) {
    AttrValue value;
    while (r.next()) {
      switch (r.tag()) {
        case tag(1, Wire::Bytes): value = list(r.message("AttrValue.ListValue"), keep_refs); break;
        case tag(2, Wire::Bytes): value = r.string(); break;
        case tag(3, Wire::Varint): value = r.integer(); break;
        case tag(4, Wire::Fixed32): value = r.float32(); break;
        case tag(5, Wire::Varint): value = r.varint() != 0; break;
        case tag(6, Wire::Varint): value = value_dtype(r.integer()); break;
        case tag(7, Wire::Bytes): value = read_shape(r.message("TensorShapeProto")); break;
        case tag(8, Wire::Bytes): {
          Tensor t = read_tensor(r.message("TensorProto"), budget_);
          value = t.initialized() ? AttrValue(std::move(t)) : AttrValue();
          break;
        }
        case tag(9, Wire::Bytes):   // placeholder and func: members of the same oneof, not used here
        case tag(10, Wire::Bytes): value = std::monostate(); r.skip(); break;
        default: r.skip();
      }
    }
    return value;
  }

  // A list has one element type; which one shows only by what is there.
  static AttrValue list(Reader r, bool keep_refs) {
    std::vector<std::string> strings;
    std::vector<int64_t> ints;
    std::vector<float> floats;
    std::vector<bool> bools;
    std::vector<DType> dtypes;
    std::vector<PartialShape> shapes;
    const auto integer = [](Reader& in) { return in.integer(); };
    while (r.next()) {
      const bool packed = (r.tag() & 7) == static_cast<uint32_t>(Wire::Bytes);
      switch (r.tag()) {
        case tag(2, Wire::Bytes): strings.push_back(r.string()); break;
        case tag(3, Wire::Varint):
        case tag(3, Wire::Bytes): read_repeated(r, packed, ints, integer); break;
        case tag(4, Wire::Fixed32):
        case tag(4, Wire::Bytes): read_repeated(r, packed, floats, [](Reader& in) { return in.float32(); }); break;
        case tag(5, Wire::Varint):
        case tag(5, Wire::Bytes): read_repeated(r, packed, bools, integer); break;
        case tag(6, Wire::Varint):
        case tag(6, Wire::Bytes):
          read_repeated(r, packed, dtypes, [keep_refs](Reader& in) {
            const int64_t number = in.integer();
            return keep_refs ? static_cast<DType>(number) : value_dtype(number);
          });
          break;
        case tag(7, Wire::Bytes): shapes.push_back(read_shape(r.message("TensorShapeProto"))); break;
        default: r.skip();
      }
    }
    if (!strings.empty()) return strings;
    if (!ints.empty()) return ints;
    if (!floats.empty()) return floats;
    if (!bools.empty()) return bools;
    if (!dtypes.empty()) return dtypes;
    if (!shapes.empty()) return shapes;
    return {};
  }

  ExpansionBudget budget_;
};

}  // namespace

GraphDef parse_graph(const void* data, size_t bytes, const WireLimits& limits) {
  if (bytes >= kMaxBytes)
    fail(Code::DataLoss, "[GraphDef] a message is smaller than 2 GiB: received ", bytes,
         " bytes. Fix: feed large arrays or keep them in variables instead of constants");
  return GraphReader(limits).graph(Reader({static_cast<const char*>(data), bytes}, "GraphDef", limits.nesting));
}

}  // namespace rf
