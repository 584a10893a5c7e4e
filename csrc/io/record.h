// TFRecord files: a record is its length (8 bytes), the masked crc32c of the length, its bytes, their masked crc32c.
//
// A writer's file grows as it is written, so that others may follow it; `close` puts it on the disk. A file that was cut
// short is read up to its last whole record, then DataLoss. An object belongs to one thread at a time.
// Source: TensorFlow, core/lib/io/record_writer.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "io/stream.h"

namespace rf {

class RecordWriter {
 public:
  RecordWriter(const std::string& path, Compression compression, int level = -1)
      : sink_(open_sink(path, compression, level)) {}

  void write(std::string_view record);
  void flush() { sink_->flush(); }
  void close() { sink_->close(); }

 private:
  std::unique_ptr<Sink> sink_;
};

class RecordReader {
 public:
  RecordReader(const std::string& path, Compression compression) : path_(path), input_(open_stream(path, compression)) {}

  // False at the end of the file. DataLoss, naming the file and the place, for bytes that are not a record.
  bool read(std::string* record);
  // Where the next record begins, counted in decompressed bytes.
  uint64_t offset() const { return input_.offset(); }

 private:
  std::string path_;
  BufferedInput input_;
  std::string head_;
};

}  // namespace rf
