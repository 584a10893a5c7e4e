#include "io/bundle_index.h"

#include "base/protobuf.h"
#include "io/table.h"

namespace rf {
namespace {

constexpr int64_t kVersion = 1;

std::string encode_shape(const Shape& shape) {
  std::string out;
  for (int64_t d : shape) {
    std::string dim;
    proto::integer(dim, 1, d);
    proto::bytes(out, 2, dim);
  }
  return out;
}

std::string encode_slice(const Slice& slice) {
  std::string out;
  for (size_t d = 0; d < slice.start.size(); ++d) {
    std::string extent;
    proto::integer(extent, 1, slice.start[d]);
    if (slice.length[d] != Slice::kAll) {  // a oneof: there even where it is 0
      proto::varint(extent, tag(2, Wire::Varint));
      proto::varint(extent, static_cast<uint64_t>(slice.length[d]));
    }
    proto::bytes(out, 1, extent);
  }
  return out;
}

std::string encode_entry(const BundleEntry& e) {
  std::string out;
  proto::integer(out, 1, static_cast<int64_t>(e.dtype));
  proto::bytes(out, 2, encode_shape(e.shape));
  proto::integer(out, 3, e.shard);
  proto::integer(out, 4, e.offset);
  proto::integer(out, 5, e.size);
  proto::fixed32(out, 6, e.crc);
  for (const Slice& s : e.slices) proto::bytes(out, 7, encode_slice(s));
  return out;
}

Shape decode_shape(Reader r) {
  Shape shape;
  while (r.next()) {
    if (r.tag() != tag(2, Wire::Bytes)) {
      r.skip();
      continue;
    }
    int64_t size = 0;
    for (Reader dim = r.message("TensorShapeProto.Dim"); dim.next();)
      if (dim.tag() == tag(1, Wire::Varint))
        size = dim.integer();
      else
        dim.skip();
    if (size < 0) r.corrupt(text("a dimension is ", size));
    shape.add(size);
  }
  shape.num_elements();  // refuses what could not be addressed
  return shape;
}

Slice decode_slice(Reader r) {
  Slice slice;
  while (r.next()) {
    if (r.tag() != tag(1, Wire::Bytes)) {
      r.skip();
      continue;
    }
    int64_t start = 0, length = Slice::kAll;
    for (Reader extent = r.message("TensorSliceProto.Extent"); extent.next();) switch (extent.tag()) {
        case tag(1, Wire::Varint): start = extent.integer(); break;
        case tag(2, Wire::Varint): length = extent.integer(); break;
        default: extent.skip();
      }
    slice.start.push_back(start);
    slice.length.push_back(length);
  }
  return slice;
}

BundleEntry decode_entry(Reader r) {
  BundleEntry e;
  while (r.next()) switch (r.tag()) {
      case tag(1, Wire::Varint): e.dtype = static_cast<DType>(r.varint() & 0xff); break;
      case tag(2, Wire::Bytes): e.shape = decode_shape(r.message("TensorShapeProto")); break;
      case tag(3, Wire::Varint): e.shard = r.integer(); break;
      case tag(4, Wire::Varint): e.offset = r.integer(); break;
      case tag(5, Wire::Varint): e.size = r.integer(); break;
      case tag(6, Wire::Fixed32): e.crc = r.fixed32(); break;
      case tag(7, Wire::Bytes): e.slices.push_back(decode_slice(r.message("TensorSliceProto"))); break;
      default: r.skip();
    }
  if (e.shard < 0 || e.offset < 0 || e.size < 0) r.corrupt("a place in the data file is negative");
  for (const Slice& s : e.slices) s.shape(e.shape);
  return e;
}

int decode_header(Reader r, const std::string& path) {
  int64_t shards = 0, endianness = 0, min_consumer = 0;
  while (r.next()) switch (r.tag()) {
      case tag(1, Wire::Varint): shards = r.integer(); break;
      case tag(2, Wire::Varint): endianness = r.integer(); break;
      case tag(3, Wire::Bytes):
        for (Reader version = r.message("VersionDef"); version.next();)
          if (version.tag() == tag(2, Wire::Varint))
            min_consumer = version.integer();
          else
            version.skip();
        break;
      default: r.skip();
    }
  if (endianness != 0 || min_consumer > kVersion)
    fail(Code::Unimplemented, "[checkpoint] '", path, "' must be little-endian and of version ", kVersion,
         " at most: it is ", endianness ? "big-endian" : "little-endian", " and of version ", min_consumer,
         ". Fix: save it again where it was made, in that form");
  if (shards < 1 || shards > 1 << 20) r.corrupt(text("it has ", shards, " data files"));
  return static_cast<int>(shards);
}

}  // namespace

std::string encode_index(const BundleIndex& index) {
  TableWriter table;
  std::string header, version;
  proto::integer(header, 1, index.num_shards);
  proto::integer(version, 1, kVersion);
  proto::bytes(header, 3, version);
  table.add("", header);
  for (const auto& [name, entry] : index.entries) table.add(name, encode_entry(entry));
  return table.finish();
}

BundleIndex decode_index(const std::string& bytes, const std::string& path) {
  const auto table = read_table(bytes, path);
  if (table.empty() || !table.front().first.empty())
    fail(Code::DataLoss, "[checkpoint] '", path, "' has no header. Fix: take another copy of it");
  BundleIndex index;
  std::string name;
  try {
    for (const auto& [key, value] : table) {
      name = key;
      if (key.empty())
        index.num_shards = decode_header(Reader(value, "BundleHeaderProto", 64, "checkpoint"), path);
      else
        index.entries.emplace_hint(index.entries.end(), key, decode_entry(Reader(value, "BundleEntryProto", 64, "checkpoint")));
    }
  } catch (const Error& e) {
    if (e.code == Code::Unimplemented) throw;
    fail(Code::DataLoss, e.what(), " (tensor '", name, "' of '", path, "')");
  }
  for (const auto& [key, entry] : index.entries)
    if (entry.shard >= index.num_shards)
      fail(Code::DataLoss, "[checkpoint] '", path, "' is damaged: tensor '", key, "' is in data file ", entry.shard, " of ",
           index.num_shards, ". Fix: take another copy of it");
  return index;
}

}  // namespace rf
