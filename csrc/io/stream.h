// Bytes of a file from front to back, plain or decompressed, and a buffer over them that takes lines and lengths.
//
// An object belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace rf {

enum class Compression { None, Zlib, Gzip };

// "", "ZLIB" or "GZIP", as TensorFlow's ops spell it; InvalidArgument otherwise.
Compression compression_of(const std::string& name);

class Stream {
 public:
  virtual ~Stream() = default;
  // Up to `bytes` bytes; fewer only at the end. DataLoss where the file cannot be decompressed.
  virtual size_t read(char* data, size_t bytes) = 0;
};

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void append(const char* data, size_t bytes) = 0;
  // What was appended can be read by others, decompressed.
  virtual void flush() = 0;
  // Writes what is left; nothing may be appended after it.
  virtual void close() = 0;
};

std::unique_ptr<Stream> open_stream(const std::string& path, Compression compression);
// The file grows as it is written.
std::unique_ptr<Sink> open_sink(const std::string& path, Compression compression, int level);

// zlib.cc where the library was there at build time, no_zlib.cc (Unimplemented) where it was not.
std::unique_ptr<Stream> inflate(std::unique_ptr<Stream> from, Compression compression, const std::string& path);
std::unique_ptr<Sink> deflate(std::unique_ptr<Sink> to, Compression compression, int level, const std::string& path);

// Takes pieces of a stream. `offset` counts the (decompressed) bytes that were taken.
class BufferedInput {
 public:
  explicit BufferedInput(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  uint64_t offset() const { return offset_; }
  // The next `bytes` bytes; fewer only at the end. The size may be forged: memory is taken as bytes come.
  void read(uint64_t bytes, std::string* out);
  // How many bytes were passed over: `bytes`, or fewer at the end.
  uint64_t skip(uint64_t bytes);
  // The next line without its \n or \r\n; false where nothing is left.
  bool read_line(std::string* line);

 private:
  bool fill();  // false at the end

  std::unique_ptr<Stream> stream_;
  std::string buffer_;
  size_t at_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace rf
