// Compressed streams by zlib, in its own format or gzip's (which may be several members one after the other).
#include <zlib.h>

#include <string>

#include "base/error.h"
#include "io/stream.h"

namespace rf {
namespace {

constexpr size_t kBufferBytes = 1 << 17;

int window_bits(Compression compression) { return compression == Compression::Gzip ? MAX_WBITS + 16 : MAX_WBITS; }

class Inflate : public Stream {
 public:
  Inflate(std::unique_ptr<Stream> from, Compression compression, const std::string& path)
      : from_(std::move(from)), path_(path), input_(kBufferBytes, '\0') {
    if (inflateInit2(&zlib_, window_bits(compression)) != Z_OK) fail(Code::ResourceExhausted, "[zlib] no memory to read '", path, "'");
  }
  ~Inflate() override { inflateEnd(&zlib_); }

  size_t read(char* data, size_t bytes) override {
    zlib_.next_out = reinterpret_cast<Bytef*>(data);
    zlib_.avail_out = static_cast<uInt>(bytes);
    while (zlib_.avail_out != 0) {
      if (zlib_.avail_in == 0) {
        const size_t n = from_->read(input_.data(), input_.size());
        if (n == 0 && (between_ || zlib_.avail_out < bytes)) break;  // what there is, before the error
        if (n == 0) damaged("it is cut short");
        zlib_.next_in = reinterpret_cast<Bytef*>(input_.data());
        zlib_.avail_in = static_cast<uInt>(n);
      }
      if (between_ && inflateReset(&zlib_) != Z_OK) damaged("zlib cannot start again");
      const int status = ::inflate(&zlib_, Z_NO_FLUSH);
      between_ = status == Z_STREAM_END;
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) damaged(zlib_.msg ? zlib_.msg : "zlib refuses it");
    }
    return bytes - zlib_.avail_out;
  }

 private:
  [[noreturn]] void damaged(const char* what) const {
    fail(Code::DataLoss, "[zlib] '", path_, "' cannot be decompressed: ", what,
         ". Fix: check its compression type, or take another copy of it");
  }

  std::unique_ptr<Stream> from_;
  std::string path_, input_;
  z_stream zlib_{};
  bool between_ = true;  // no member has begun: the file may end here
};

class Deflate : public Sink {
 public:
  Deflate(std::unique_ptr<Sink> to, Compression compression, int level, const std::string& path)
      : to_(std::move(to)), output_(kBufferBytes, '\0') {
    if (deflateInit2(&zlib_, level, Z_DEFLATED, window_bits(compression), 8, Z_DEFAULT_STRATEGY) != Z_OK)
      fail(Code::InvalidArgument, "[zlib] the compression level must be -1 or 0 to 9: got ", level, " for '", path, "'");
  }
  ~Deflate() override { deflateEnd(&zlib_); }

  void append(const char* data, size_t bytes) override { run(data, bytes, Z_NO_FLUSH); }
  void flush() override {
    run(nullptr, 0, Z_SYNC_FLUSH);
    to_->flush();
  }
  void close() override {
    run(nullptr, 0, Z_FINISH);
    to_->close();
  }

 private:
  void run(const char* data, size_t bytes, int flush) {
    while (bytes > 1u << 30) {  // zlib counts in 32 bits
      run(data, 1u << 30, Z_NO_FLUSH);
      data += 1u << 30;
      bytes -= 1u << 30;
    }
    zlib_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data));
    zlib_.avail_in = static_cast<uInt>(bytes);
    do {
      zlib_.next_out = reinterpret_cast<Bytef*>(output_.data());
      zlib_.avail_out = static_cast<uInt>(output_.size());
      if (::deflate(&zlib_, flush) == Z_STREAM_ERROR) fail(Code::Internal, "[zlib] the stream is not usable");
      to_->append(output_.data(), output_.size() - zlib_.avail_out);
    } while (zlib_.avail_out == 0);
  }

  std::unique_ptr<Sink> to_;
  std::string output_;
  z_stream zlib_{};
};

}  // namespace

std::unique_ptr<Stream> inflate(std::unique_ptr<Stream> from, Compression compression, const std::string& path) {
  return std::make_unique<Inflate>(std::move(from), compression, path);
}

std::unique_ptr<Sink> deflate(std::unique_ptr<Sink> to, Compression compression, int level, const std::string& path) {
  return std::make_unique<Deflate>(std::move(to), compression, level, path);
}

}  // namespace rf
