#include "io/bundle.h"

#include <cstdio>
#include <cstring>

#include "base/crc32c.h"
#include "base/protobuf.h"
#include "io/bundle_index.h"

namespace rf {
namespace {

constexpr size_t kChunk = 1 << 18;  // read and checked in pieces that stay in the cache

// The sizes of strings enter the crc as 32-bit numbers, or as 64-bit ones where they do not fit.
uint32_t extend_by_size(uint32_t crc, uint64_t size) { return crc32c(&size, size <= UINT32_MAX ? 4 : 8, crc); }

}  // namespace

std::string bundle_index_path(const std::string& prefix) { return prefix + ".index"; }

std::string bundle_data_path(const std::string& prefix, int64_t shard, int64_t num_shards) {
  char end[64];
  std::snprintf(end, sizeof end, ".data-%05lld-of-%05lld", static_cast<long long>(shard), static_cast<long long>(num_shards));
  return prefix + end;
}

// ---- writing
BundleWriter::BundleWriter(const std::string& prefix)
    : prefix_(prefix), data_((make_folders(folder_of(prefix)), bundle_data_path(prefix, 0, 1))) {}

void BundleWriter::add(const std::string& name, const Tensor& tensor) {
  check(!name.empty(), "[SaveV2] a tensor needs a name: got ''");
  write(name, tensor);
}

void BundleWriter::add_slice(const std::string& name, const ShapeAndSlice& part, const Tensor& tensor) {
  check(!name.empty(), "[SaveV2] a tensor needs a name: got ''");
  check(part.slice.shape(part.full) == tensor.shape(), "[SaveV2] slice of '", name, "' must have the shape that its text says, ",
        part.slice.shape(part.full), ": got ", tensor.shape());
  BundleEntry& whole = entries_[name];
  check(whole.dtype == DType::Invalid || (whole.dtype == tensor.dtype() && whole.shape == part.full && !whole.slices.empty()),
        "[SaveV2] slices of '", name, "' must agree on dtype and whole shape: got ", name_of(whole.dtype), " ", whole.shape,
        " and ", name_of(tensor.dtype()), " ", part.full);
  whole.dtype = tensor.dtype();
  whole.shape = part.full;
  whole.slices.push_back(part.slice);
  write(slice_key(name, part.slice), tensor);
}

void BundleWriter::write(const std::string& key, const Tensor& tensor) {
  check(tensor.dtype() == DType::String || size_of(tensor.dtype()) != 0, "[SaveV2] values must be numbers or strings: '", key,
        "' is ", name_of(tensor.dtype()));
  check(entries_.count(key) == 0, "[SaveV2] a name may be saved once: '", key, "' came twice");
  BundleEntry entry;
  entry.dtype = tensor.dtype();
  entry.shape = tensor.shape();
  entry.offset = static_cast<int64_t>(data_.size());
  uint32_t crc = 0;
  if (tensor.dtype() == DType::String) {
    const auto* strings = tensor.data<std::string>();
    std::string sizes;
    for (int64_t i = 0; i < tensor.num_elements(); ++i) {
      proto::varint(sizes, strings[i].size());
      crc = extend_by_size(crc, strings[i].size());
    }
    const uint32_t check_of_sizes = mask_crc(crc);
    data_.append(sizes);
    data_.append(&check_of_sizes, 4);
    crc = crc32c(&check_of_sizes, 4, crc);
    for (int64_t i = 0; i < tensor.num_elements(); ++i) {
      data_.append(strings[i]);
      crc = crc32c(strings[i].data(), strings[i].size(), crc);
    }
  } else {
    const char* bytes = static_cast<const char*>(tensor.raw());
    for (size_t at = 0; at < tensor.bytes(); at += kChunk) {
      const size_t n = std::min(kChunk, tensor.bytes() - at);
      crc = crc32c(bytes + at, n, crc);
      data_.append(bytes + at, n);
    }
  }
  entry.size = static_cast<int64_t>(data_.size()) - entry.offset;
  entry.crc = mask_crc(crc);
  entries_[key] = entry;
}

void BundleWriter::finish() {
  data_.commit();
  OutputFile index(bundle_index_path(prefix_));
  index.append(encode_index({1, std::move(entries_)}));
  index.commit();
}

// ---- reading
BundleReader::BundleReader(const std::string& prefix) : prefix_(prefix) {
  const std::string path = bundle_index_path(prefix);
  if (!file_exists(path))
    fail(Code::NotFound, "[checkpoint] no checkpoint is at '", prefix, "': there is no file '", path,
         "'. Fix: give the prefix that was saved to, without .index or .data");
  BundleIndex index = decode_index(read_file(path), path);
  num_shards_ = index.num_shards;
  entries_ = std::move(index.entries);
}

const BundleEntry& BundleReader::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    fail(Code::NotFound, "Key ", name, " not found in checkpoint '", prefix_, "' of ", entries_.size(),
         " entries. Fix: restore only what was saved, or give the name under which it was");
  return found->second;
}

const InputFile& BundleReader::shard(const BundleEntry& entry) const {
  auto& file = files_[entry.shard];
  if (!file) file = std::make_unique<InputFile>(bundle_data_path(prefix_, entry.shard, num_shards_));
  return *file;
}

void BundleReader::damaged(const std::string& name, const BundleEntry& entry, const std::string& what) const {
  fail(Code::DataLoss, "[checkpoint] tensor '", name, "' in '", bundle_data_path(prefix_, entry.shard, num_shards_),
       "' is damaged: ", what, ". Fix: take another copy of the file, or another checkpoint");
}

Tensor BundleReader::read(const std::string& name) const {
  const BundleEntry& e = entry(name);
  if (e.slices.empty()) return load(name, e);
  const auto rank = static_cast<size_t>(e.shape.rank());
  return assemble(name, e, {std::vector<int64_t>(rank, 0), std::vector<int64_t>(rank, Slice::kAll)});
}

Tensor BundleReader::read_slice(const std::string& name, const ShapeAndSlice& part) const {
  const BundleEntry& e = entry(name);
  check(e.shape == part.full, "[RestoreV2] '", name, "' must have the shape that its slice says, ", part.full,
        ": the checkpoint has ", e.shape);
  return assemble(name, e, part.slice);
}

Tensor BundleReader::assemble(const std::string& name, const BundleEntry& e, const Slice& wanted) const {
  std::vector<std::pair<Slice, Tensor>> parts;
  if (e.slices.empty()) {
    const auto rank = static_cast<size_t>(e.shape.rank());
    parts.push_back({{std::vector<int64_t>(rank, 0), std::vector<int64_t>(rank, Slice::kAll)}, load(name, e)});
  }
  for (const Slice& s : e.slices) {
    if (copy_common(e.shape, s, wanted, 1, [](size_t, size_t, size_t) {}) == 0) continue;
    const auto found = entries_.find(slice_key(name, s));
    if (found == entries_.end() || found->second.dtype != e.dtype || found->second.shape != s.shape(e.shape))
      damaged(name, e, "one of its slices is missing");
    for (const auto& other : parts)
      if (copy_common(e.shape, s, other.first, 1, [](size_t, size_t, size_t) {}) != 0) damaged(name, e, "its slices overlap");
    parts.emplace_back(s, load(name, found->second));
  }
  Tensor whole(e.dtype, wanted.shape(e.shape));
  int64_t covered = 0;
  for (const auto& [slice, part] : parts)
    covered += copy_common(e.shape, slice, wanted, e.dtype == DType::String ? sizeof(std::string) : size_of(e.dtype),
                           [&, in = &part](size_t out_offset, size_t in_offset, size_t bytes) {
                             char* out = static_cast<char*>(whole.raw()) + out_offset;
                             const char* from = static_cast<const char*>(in->raw()) + in_offset;
                             if (e.dtype != DType::String) {
                               std::memcpy(out, from, bytes);
                               return;
                             }
                             const auto* strings = reinterpret_cast<const std::string*>(from);
                             std::copy(strings, strings + bytes / sizeof(std::string), reinterpret_cast<std::string*>(out));
                           });
  if (covered != whole.num_elements())
    damaged(name, e, text("its slices hold ", covered, " of ", whole.num_elements(), " elements"));
  return whole;
}

Tensor BundleReader::load(const std::string& name, const BundleEntry& e) const {
  const size_t element = size_of(e.dtype);
  if (e.dtype != DType::String && element == 0)
    fail(Code::Unimplemented, "[checkpoint] tensor '", name, "' has dtype ", static_cast<int>(e.dtype),
         ", which ringflow does not have");
  const InputFile& file = shard(e);
  const auto offset = static_cast<uint64_t>(e.offset), size = static_cast<uint64_t>(e.size);
  if (size > file.size() || offset > file.size() - size)
    damaged(name, e, text("the file has ", file.size(), " bytes, the tensor ends at ", offset + size));
  // before memory is taken for what a damaged index claims
  const auto elements = static_cast<uint64_t>(e.shape.num_elements());
  if (e.dtype == DType::String ? elements > size : elements * element != size)
    damaged(name, e, text(size, " bytes for shape ", e.shape));
  Tensor tensor(e.dtype, e.shape);
  if (e.dtype == DType::String) {
    load_strings(name, e, file, tensor);
    return tensor;
  }
  uint32_t crc = 0;
  char* out = static_cast<char*>(tensor.raw());
  for (size_t at = 0; at < size; at += kChunk) {
    const size_t n = std::min<size_t>(kChunk, size - at);
    if (file.read(offset + at, out + at, n) != n) damaged(name, e, "the file has become shorter");
    crc = crc32c(out + at, n, crc);
  }
  if (mask_crc(crc) != e.crc) damaged(name, e, "its crc32c differs");
  return tensor;
}

void BundleReader::load_strings(const std::string& name, const BundleEntry& e, const InputFile& file, Tensor& tensor) const {
  std::string bytes(static_cast<size_t>(e.size), '\0');
  if (file.read(static_cast<uint64_t>(e.offset), bytes.data(), bytes.size()) != bytes.size())
    damaged(name, e, "the file has become shorter");
  std::vector<uint64_t> sizes;
  uint32_t crc = 0;
  size_t at = 0;
  for (int64_t i = 0; i < tensor.num_elements(); ++i) {
    uint64_t size = 0;
    for (int shift = 0;; shift += 7) {
      if (at == bytes.size() || shift > 63) damaged(name, e, "a length has no end");
      const auto byte = static_cast<uint8_t>(bytes[at++]);
      size |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    crc = extend_by_size(crc, size);
    sizes.push_back(size);
  }
  uint32_t stored = 0;
  if (bytes.size() - at < 4) damaged(name, e, "the crc32c of its lengths is missing");
  std::memcpy(&stored, bytes.data() + at, 4);
  if (stored != mask_crc(crc)) damaged(name, e, "the crc32c of its lengths differs");
  if (mask_crc(crc32c(bytes.data() + at, bytes.size() - at, crc)) != e.crc) damaged(name, e, "its crc32c differs");
  at += 4;
  auto* out = tensor.data<std::string>();
  for (uint64_t size : sizes) {
    if (size > bytes.size() - at) damaged(name, e, "its lengths exceed its bytes");
    (out++)->assign(bytes, at, size);
    at += size;
  }
  if (at != bytes.size()) damaged(name, e, "its lengths do not fill its bytes");
}

// ---- merging
void merge_bundles(const std::vector<std::string>& prefixes, const std::string& destination, bool allow_missing) {
  BundleIndex merged{0, {}};
  std::vector<std::string> files;  // the data files, in their new order
  std::vector<std::string> indices;
  for (const std::string& prefix : prefixes) {
    if (allow_missing && !file_exists(bundle_index_path(prefix))) continue;
    const BundleReader part(prefix);
    indices.push_back(bundle_index_path(prefix));
    for (const auto& [key, entry] : part.entries()) {
      BundleEntry moved = entry;
      moved.shard += static_cast<int64_t>(files.size());
      auto [place, fresh] = merged.entries.emplace(key, moved);
      if (fresh) continue;
      BundleEntry& there = place->second;  // the same tensor may come in slices from several
      check(!there.slices.empty() && !entry.slices.empty() && there.dtype == entry.dtype && there.shape == entry.shape,
            "[MergeV2Checkpoints] a tensor may come from one checkpoint: '", key, "' is also in '", prefix, "'");
      there.slices.insert(there.slices.end(), entry.slices.begin(), entry.slices.end());
    }
    for (int shard = 0; shard < part.num_shards(); ++shard)
      files.push_back(bundle_data_path(prefix, shard, part.num_shards()));
  }
  check(!files.empty(), "[MergeV2Checkpoints] no checkpoint is at the ", prefixes.size(), " given prefixes");
  make_folders(folder_of(destination));
  merged.num_shards = static_cast<int>(files.size());
  for (size_t i = 0; i < files.size(); ++i)
    rename_file(files[i], bundle_data_path(destination, static_cast<int64_t>(i), merged.num_shards));
  OutputFile index(bundle_index_path(destination));
  index.append(encode_index(merged));
  index.commit();
  for (const std::string& old : indices)
    if (old != bundle_index_path(destination)) remove_file(old);
}

}  // namespace rf
