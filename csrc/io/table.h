// The sorted table of strings that TensorFlow keeps a checkpoint's index in: LevelDB's format, with TensorFlow's magic.
//
// A file is data blocks, an (empty) metaindex block, an index block and a footer of 48 bytes. A block is entries with
// shared key prefixes, the offsets of those without one (restart points), a byte for its compression and a masked
// crc32c. Writing gives the very bytes that TensorFlow writes. Reading takes the whole table and checks every block:
// indices are small, and a damaged one must not be found out half way through a restore.
// Source: LevelDB, doc/table_format.md.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rf {

class TableWriter {
 public:
  // Keys must come in ascending order.
  void add(const std::string& key, std::string_view value);
  // The bytes of the file.
  std::string finish();

 private:
  class Block {
   public:
    explicit Block(int restart_interval) : restart_interval_(restart_interval) {}
    void add(const std::string& key, std::string_view value);
    size_t size() const;
    bool empty() const { return bytes_.empty(); }
    std::string finish();

   private:
    int restart_interval_;
    std::string bytes_, last_key_;
    std::vector<uint32_t> restarts_{0};
    int since_restart_ = 0;
  };

  void flush();
  std::string write(Block& block);

  std::string file_, last_key_;
  Block block_{16}, index_{1};
  std::string pending_;  // the place of the last block, until the next key decides how short its index key can be
};

// All (key, value) of a table, ascending. DataLoss, naming the file, for anything that is not such a table.
std::vector<std::pair<std::string, std::string>> read_table(std::string_view file, const std::string& path);

}  // namespace rf
