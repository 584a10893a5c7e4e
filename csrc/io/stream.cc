#include "io/stream.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "io/file.h"

namespace rf {
namespace {

constexpr size_t kBufferBytes = 1 << 18;
constexpr size_t kPieceBytes = 1 << 22;  // taken at once for what may be a forged length

class FileStream : public Stream {
 public:
  explicit FileStream(const std::string& path) : file_(path) {}
  size_t read(char* data, size_t bytes) override {
    const size_t n = file_.read(offset_, data, bytes);
    offset_ += n;
    return n;
  }

 private:
  InputFile file_;
  uint64_t offset_ = 0;
};

class FileSink : public Sink {
 public:
  explicit FileSink(const std::string& path) : file_(path, OutputFile::Appears::AsWritten) {}
  void append(const char* data, size_t bytes) override { file_.append(data, bytes); }
  void flush() override { file_.flush(); }
  void close() override { file_.commit(); }

 private:
  OutputFile file_;
};

}  // namespace

Compression compression_of(const std::string& name) {
  if (name.empty()) return Compression::None;
  if (name == "ZLIB") return Compression::Zlib;
  if (name == "GZIP") return Compression::Gzip;
  fail(Code::InvalidArgument, "[records] compression must be '', 'ZLIB' or 'GZIP': got '", name, "'");
}

std::unique_ptr<Stream> open_stream(const std::string& path, Compression compression) {
  auto file = std::make_unique<FileStream>(path);
  if (compression == Compression::None) return file;
  return inflate(std::move(file), compression, path);
}

std::unique_ptr<Sink> open_sink(const std::string& path, Compression compression, int level) {
  auto file = std::make_unique<FileSink>(path);
  if (compression == Compression::None) return file;
  return deflate(std::move(file), compression, level, path);
}

bool BufferedInput::fill() {
  if (at_ < buffer_.size()) return true;
  buffer_.resize(kBufferBytes);
  at_ = buffer_.size();  // empty, should the read throw
  const size_t n = stream_->read(buffer_.data(), buffer_.size());
  buffer_.resize(n);
  at_ = 0;
  return n != 0;
}

void BufferedInput::read(uint64_t bytes, std::string* out) {
  out->clear();
  while (bytes != 0) {
    if (at_ == buffer_.size() && bytes >= kBufferBytes) {  // straight to where it goes
      const size_t before = out->size(), wanted = static_cast<size_t>(std::min<uint64_t>(bytes, kPieceBytes));
      out->resize(before + wanted);
      const size_t n = stream_->read(out->data() + before, wanted);
      out->resize(before + n);
      offset_ += n;
      bytes -= n;
      if (n == 0) return;
      continue;
    }
    if (!fill()) return;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(bytes, buffer_.size() - at_));
    out->append(buffer_, at_, n);
    at_ += n;
    offset_ += n;
    bytes -= n;
  }
}

uint64_t BufferedInput::skip(uint64_t bytes) {
  const uint64_t before = offset_;
  while (bytes != 0 && fill()) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(bytes, buffer_.size() - at_));
    at_ += n;
    offset_ += n;
    bytes -= n;
  }
  return offset_ - before;
}

bool BufferedInput::read_line(std::string* line) {
  line->clear();
  bool any = false;
  while (fill()) {
    any = true;
    const char* from = buffer_.data() + at_;
    const auto* end = static_cast<const char*>(std::memchr(from, '\n', buffer_.size() - at_));
    const size_t n = end ? static_cast<size_t>(end - from) : buffer_.size() - at_;
    line->append(from, n);
    at_ += n + (end != nullptr);
    offset_ += n + (end != nullptr);
    if (end) break;
  }
  if (!line->empty() && line->back() == '\r') line->pop_back();
  return any;
}

}  // namespace rf
