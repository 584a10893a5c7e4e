// Compressed streams where zlib was not there at build time.
#include "base/error.h"
#include "io/stream.h"

namespace rf {
namespace {

[[noreturn]] void refuse(const std::string& path) {
  fail(Code::Unimplemented, "[records] compression needs zlib, without which this ringflow was built: '", path,
       "'. Fix: install zlib's headers (Debian: apt-get install zlib1g-dev) and build again");
}

}  // namespace

std::unique_ptr<Stream> inflate(std::unique_ptr<Stream>, Compression, const std::string& path) { refuse(path); }

std::unique_ptr<Sink> deflate(std::unique_ptr<Sink>, Compression, int, const std::string& path) { refuse(path); }

}  // namespace rf
