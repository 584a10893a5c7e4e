#include "io/file.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace rf {
namespace {

constexpr size_t kBufferBytes = 1 << 18;

Code code_of(int number) {
  switch (number) {
    case ENOENT: return Code::NotFound;
    case EACCES: case EPERM: case EROFS: return Code::PermissionDenied;
    case ENOSPC: case EDQUOT: case EFBIG: case EMFILE: case ENFILE: case ENOMEM: return Code::ResourceExhausted;
    case EISDIR: case ENOTDIR: case ENOTEMPTY: return Code::FailedPrecondition;
    case EINVAL: case ENAMETOOLONG: return Code::InvalidArgument;
    default: return Code::Unknown;
  }
}

const char* fix_of(int number) {
  switch (number) {
    case ENOENT: return "check the path";
    case EACCES: case EPERM: case EROFS: return "give this user the right, or take another path";
    case ENOSPC: case EDQUOT: return "free space on that disk, or take another path";
    case EFBIG: return "raise the limit on file sizes (ulimit -f)";
    case EMFILE: case ENFILE: return "raise the limit on open files (ulimit -n)";
    case EISDIR: return "name a file, not a folder";
    case ENOTDIR: return "name a path whose parents are folders";
    default: return "see the system's message";
  }
}

// The name lasts only if the folder is on the disk too. File systems that refuse to sync a folder keep it by themselves.
void sync_folder(const std::string& path) {
  const int folder = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

}  // namespace

void fail_system(int number, const char* what, const std::string& path) {
  fail(code_of(number), "[file] cannot ", what, " '", path, "': ", std::strerror(number), ". Fix: ", fix_of(number));
}

InputFile::InputFile(const std::string& path) : path_(path) {
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) fail_system(errno, "open", path);
  struct stat about {};
  int failed = ::fstat(file_, &about) != 0 ? errno : 0;
  if (!failed && S_ISDIR(about.st_mode)) failed = EISDIR;
  if (failed) {
    ::close(file_);
    fail_system(failed, "read", path);
  }
  size_ = static_cast<uint64_t>(about.st_size);
}

InputFile::~InputFile() { ::close(file_); }

size_t InputFile::read(uint64_t offset, void* data, size_t bytes) const {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::pread(file_, static_cast<char*>(data) + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_system(errno, "read", path_);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

OutputFile::OutputFile(const std::string& path, Appears appears) : path_(path) {
  static std::atomic<int> counter{0};
  temporary_ = appears == Appears::AsWritten ? path : text(path, ".tmp-", ::getpid(), "-", counter++);
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_system(errno, "create", path);
}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  ::close(file_);
  if (temporary_ != path_) ::unlink(temporary_.c_str());
}

void OutputFile::append(const void* data, size_t bytes) {
  if (buffer_.size() + bytes <= kBufferBytes) {
    buffer_.append(static_cast<const char*>(data), bytes);
    return;
  }
  flush();
  if (bytes >= kBufferBytes)
    write(static_cast<const char*>(data), bytes);
  else
    buffer_.append(static_cast<const char*>(data), bytes);
}

void OutputFile::flush() {
  write(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void OutputFile::write(const char* data, size_t bytes) {
  while (bytes != 0) {
    const ssize_t n = ::write(file_, data, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_system(errno, "write", path_);
    data += n;
    bytes -= static_cast<size_t>(n);
    written_ += static_cast<uint64_t>(n);
  }
}

void OutputFile::commit() {
  flush();
  if (::fsync(file_) != 0) fail_system(errno, "write", path_);
  const int file = std::exchange(file_, -1);
  if (::close(file) != 0 || (temporary_ != path_ && ::rename(temporary_.c_str(), path_.c_str()) != 0)) {
    const int failed = errno;
    if (temporary_ != path_) ::unlink(temporary_.c_str());
    fail_system(failed, "write", path_);
  }
  sync_folder(path_);
}

std::string read_file(const std::string& path) {
  const InputFile file(path);
  std::string content(file.size(), '\0');
  content.resize(file.read(0, content.data(), content.size()));
  for (char more[4096];;) {  // files of /proc say that they are empty
    const size_t n = file.read(content.size(), more, sizeof more);
    content.append(more, n);
    if (n < sizeof more) return content;
  }
}

void write_file(const std::string& path, std::string_view content) {
  make_folders(folder_of(path));
  OutputFile file(path);
  file.append(content);
  file.commit();
}

void rename_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_system(errno, "rename", from);
  sync_folder(to);
}

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) fail_system(errno, "remove", path);
}

void remove_empty_folder(const std::string& path) { ::rmdir(path.c_str()); }

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

void make_folders(const std::string& path) {
  struct stat about {};
  if (path.empty() || (::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode))) return;
  make_folders(path.find('/') == std::string::npos ? "" : folder_of(path));
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) fail_system(errno, "make the folder", path);
}

std::vector<std::string> matching_files(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), GLOB_NOESCAPE, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status == GLOB_ABORTED) fail(Code::PermissionDenied, "[MatchingFiles] a folder of '", pattern, "' cannot be read");
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace rf
