// Checkpoints as TensorFlow writes them (tensor bundles, "V2"): `prefix.index` and `prefix.data-00000-of-00001`.
//
// The index is a table from the tensor's name to a BundleEntryProto (dtype, shape, shard, offset, size, masked crc32c);
// the entry of the empty name is the header. The data file is the tensors one after the other, raw and little-endian.
// A tensor saved in slices has an entry without data that lists them, and one entry for each under slice_key().
// Writing: the data file has its name before the index has, so whoever finds an index finds a whole checkpoint.
// An object belongs to one thread. Source: TensorFlow, core/util/tensor_bundle.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "io/file.h"
#include "io/slice.h"

namespace rf {

struct BundleEntry {
  DType dtype = DType::Invalid;  // as the file says: it may be one that ringflow has no name for
  Shape shape;
  int64_t shard = 0, offset = 0, size = 0;
  uint32_t crc = 0;  // masked
  std::vector<Slice> slices;
};

class BundleWriter {
 public:
  explicit BundleWriter(const std::string& prefix);
  // InvalidArgument for a name that is there already, and for handles.
  void add(const std::string& name, const Tensor& tensor);
  // `tensor` is that slice of a tensor of shape `full`, whose other slices may be in this bundle or in others.
  void add_slice(const std::string& name, const ShapeAndSlice& part, const Tensor& tensor);
  // Nothing is at `prefix` before this.
  void finish();

 private:
  void write(const std::string& key, const Tensor& tensor);

  std::string prefix_;
  OutputFile data_;
  std::map<std::string, BundleEntry> entries_;
};

class BundleReader {
 public:
  // NotFound where there is no such checkpoint, DataLoss where its index is damaged.
  explicit BundleReader(const std::string& prefix);

  const std::map<std::string, BundleEntry>& entries() const { return entries_; }
  int num_shards() const { return num_shards_; }
  // NotFound where there is no tensor of that name.
  const BundleEntry& entry(const std::string& name) const;
  // Its value, put together where it was saved in slices. DataLoss, naming file and tensor, where bytes are missing or
  // their crc differs.
  Tensor read(const std::string& name) const;
  Tensor read_slice(const std::string& name, const ShapeAndSlice& part) const;

 private:
  Tensor load(const std::string& name, const BundleEntry& entry) const;
  void load_strings(const std::string& name, const BundleEntry& entry, const InputFile& file, Tensor& tensor) const;
  Tensor assemble(const std::string& name, const BundleEntry& entry, const Slice& wanted) const;
  const InputFile& shard(const BundleEntry& entry) const;
  [[noreturn]] void damaged(const std::string& name, const BundleEntry& entry, const std::string& what) const;

  std::string prefix_;
  int num_shards_ = 1;
  std::map<std::string, BundleEntry> entries_;
  mutable std::map<int64_t, std::unique_ptr<InputFile>> files_;
};

// Makes one checkpoint at `destination` out of those at `prefixes`: their data files get its name, nothing is copied.
// `allow_missing`: a prefix without a checkpoint counts as an empty one.
void merge_bundles(const std::vector<std::string>& prefixes, const std::string& destination, bool allow_missing);

std::string bundle_index_path(const std::string& prefix);
std::string bundle_data_path(const std::string& prefix, int64_t shard, int64_t num_shards);

}  // namespace rf
