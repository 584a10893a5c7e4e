#include "io/table.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/protobuf.h"

namespace rf {
namespace {

using proto::varint;

constexpr uint64_t kMagic = 0xdb4775248b80fb57;
constexpr size_t kBlockBytes = 262144;  // TensorFlow's
constexpr size_t kTrailerBytes = 5;
constexpr size_t kFooterBytes = 48;

void fixed(std::string& out, uint64_t value, size_t bytes) { out.append(reinterpret_cast<const char*>(&value), bytes); }
uint32_t fixed32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

// A short key k with last <= k < next.
std::string separator(std::string last, const std::string& next) {
  const size_t shorter = std::min(last.size(), next.size());
  size_t i = 0;
  while (i < shorter && last[i] == next[i]) ++i;
  if (i == shorter) return last;
  const auto byte = static_cast<uint8_t>(last[i]);
  if (byte == 0xff || byte + 1 >= static_cast<uint8_t>(next[i])) return last;
  last[i] = static_cast<char>(byte + 1);
  last.resize(i + 1);
  return last;
}

// A short key k >= last.
std::string successor(std::string last) {
  for (size_t i = 0; i < last.size(); ++i)
    if (static_cast<uint8_t>(last[i]) != 0xff) {
      last[i] = static_cast<char>(last[i] + 1);
      last.resize(i + 1);
      break;
    }
  return last;
}

}  // namespace

void TableWriter::Block::add(const std::string& key, std::string_view value) {
  size_t shared = 0;
  if (since_restart_ < restart_interval_) {
    while (shared < std::min(key.size(), last_key_.size()) && key[shared] == last_key_[shared]) ++shared;
  } else {
    restarts_.push_back(static_cast<uint32_t>(bytes_.size()));
    since_restart_ = 0;
  }
  varint(bytes_, shared);
  varint(bytes_, key.size() - shared);
  varint(bytes_, value.size());
  bytes_.append(key, shared, std::string::npos);
  bytes_ += value;
  last_key_ = key;
  ++since_restart_;
}

size_t TableWriter::Block::size() const { return bytes_.size() + 4 * restarts_.size() + 4; }

std::string TableWriter::Block::finish() {
  std::string block = std::move(bytes_);
  for (uint32_t r : restarts_) fixed(block, r, 4);
  fixed(block, restarts_.size(), 4);
  *this = Block(restart_interval_);
  return block;
}

void TableWriter::add(const std::string& key, std::string_view value) {
  if (!pending_.empty()) {
    index_.add(separator(last_key_, key), pending_);
    pending_.clear();
  }
  block_.add(key, value);
  last_key_ = key;
  if (block_.size() >= kBlockBytes) flush();
}

void TableWriter::flush() {
  if (!block_.empty()) pending_ = write(block_);
}

// Returns the block's handle: where it is, and its size without the trailer.
std::string TableWriter::write(Block& block) {
  std::string bytes = block.finish();
  std::string handle;
  varint(handle, file_.size());
  varint(handle, bytes.size());
  bytes += '\0';  // not compressed
  fixed(bytes, masked_crc32c(bytes.data(), bytes.size()), 4);
  file_ += bytes;
  return handle;
}

std::string TableWriter::finish() {
  flush();
  Block none(16);
  std::string footer = write(none);
  if (!pending_.empty()) index_.add(successor(last_key_), pending_);
  footer += write(index_);
  footer.resize(kFooterBytes - 8, '\0');
  fixed(footer, kMagic, 8);
  return std::move(file_) + footer;
}

namespace {

class TableReader {
 public:
  TableReader(std::string_view file, const std::string& path) : file_(file), path_(path) {}

  std::vector<std::pair<std::string, std::string>> read() const {
    if (file_.size() < kFooterBytes) corrupt("it is too short for a footer");
    uint64_t magic;
    std::memcpy(&magic, file_.data() + file_.size() - 8, 8);
    if (magic != kMagic) corrupt("it does not end in the magic number of a table");
    std::string_view footer = file_.substr(file_.size() - kFooterBytes, kFooterBytes - 8);
    take_block(footer);  // the metaindex
    std::vector<std::pair<std::string, std::string>> entries;
    const auto index = entries_of(take_block(footer));
    for (const auto& [key, handle] : index) {
      std::string_view where = handle;
      for (auto& entry : entries_of(take_block(where))) {
        if (!entries.empty() && !(entries.back().first < entry.first)) corrupt("its keys are not in order");
        entries.push_back(std::move(entry));
      }
      if (entries.empty() || key < entries.back().first) corrupt("its index is not in order");
    }
    return entries;
  }

 private:
  [[noreturn]] void corrupt(const char* what) const {
    fail(Code::DataLoss, "[table] '", path_, "' is not a whole table of ", file_.size(), " bytes: ", what,
         ". Fix: take another copy of the file, or another checkpoint");
  }

  uint64_t take_varint(std::string_view& bytes) const {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (bytes.empty()) break;
      const auto byte = static_cast<uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    corrupt("a number in it has no end");
  }

  // The block whose handle stands at the front of `handle`.
  std::string_view take_block(std::string_view& handle) const {
    const uint64_t offset = take_varint(handle), size = take_varint(handle);
    const uint64_t end = file_.size() - kFooterBytes;
    if (size > end || offset > end - size || end - size - offset < kTrailerBytes) corrupt("a block lies outside it");
    const char* trailer = file_.data() + offset + size;
    if (masked_crc32c(file_.data() + offset, size + 1) != fixed32(trailer + 1)) corrupt("the crc32c of a block differs");
    if (*trailer != 0)
      fail(Code::Unimplemented, "[table] '", path_, "' holds a block compressed by method ", int{*trailer},
           ". Fix: write the checkpoint without compression, as TensorFlow has since 1.2");
    return file_.substr(offset, size);
  }

  std::vector<std::pair<std::string, std::string>> entries_of(std::string_view block) const {
    if (block.size() < 4) corrupt("a block has no restart points");
    const uint64_t restarts = fixed32(block.data() + block.size() - 4);
    if (4 * restarts + 4 > block.size()) corrupt("a block's restart points lie outside it");
    block.remove_suffix(4 * restarts + 4);
    std::vector<std::pair<std::string, std::string>> entries;
    std::string key;
    while (!block.empty()) {
      const uint64_t shared = take_varint(block), fresh = take_varint(block), size = take_varint(block);
      if (shared > key.size() || fresh > block.size() || size > block.size() - fresh) corrupt("an entry lies outside its block");
      key.resize(shared);
      key += block.substr(0, fresh);
      entries.emplace_back(key, block.substr(fresh, size));
      block.remove_prefix(fresh + size);
    }
    return entries;
  }

  std::string_view file_;
  const std::string& path_;
};

}  // namespace

std::vector<std::pair<std::string, std::string>> read_table(std::string_view file, const std::string& path) {
  return TableReader(file, path).read();
}

}  // namespace rf
