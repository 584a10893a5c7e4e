#include "collectives/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace rf {
namespace {

[[noreturn]] void refuse(const char* call, const std::string& name) {
  fail(Code::Unavailable, call, " of ", name, ": ", std::strerror(errno));
}

void give_size(int file, size_t bytes, const std::string& name) {
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0) return;
  const int error = errno;
  close(file);
  errno = error;
  refuse("ftruncate", name);
}

}  // namespace

Mapping::Mapping(int file, size_t bytes, const std::string& name) : bytes_(bytes), file_(file) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (data == MAP_FAILED) {
    close(file);
    refuse("mmap", name);
  }
  data_ = data;
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_), file_(std::exchange(other.file_, -1)),
      row_(std::exchange(other.row_, nullptr)), row_bytes_(other.row_bytes_) {}

Mapping::~Mapping() {
  if (row_) munmap(row_, row_bytes_);
  if (data_) munmap(data_, bytes_);
  close_file();
}

Mapping Mapping::create(const std::string& name, size_t bytes) {
  struct statvfs disk;
  if (statvfs("/dev/shm", &disk) == 0) {
    const size_t free_bytes = static_cast<size_t>(disk.f_bavail) * disk.f_frsize;
    if (free_bytes < bytes)
      fail(Code::Unavailable, "/dev/shm has ", free_bytes >> 20, " MiB free and ", (bytes >> 20) + 1, " MiB are needed");
  }
  const int file = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
  if (file < 0) refuse("shm_open", name);
  try {
    give_size(file, bytes, name);
    return Mapping(file, bytes, name);
  } catch (const Error&) {
    shm_unlink(name.c_str());
    throw;
  }
}

Mapping Mapping::open(const std::string& name, size_t bytes) {
  const int file = shm_open(name.c_str(), O_RDWR, 0600);
  if (file < 0) refuse("shm_open", name);
  return Mapping(file, bytes, name);
}

Mapping Mapping::anonymous(size_t bytes) {
  const std::string name = "memory for " + std::to_string(bytes) + " bytes";
  const int file = memfd_create("ringflow", MFD_CLOEXEC);
  if (file < 0) refuse("memfd_create", name);
  give_size(file, bytes, name);
  return Mapping(file, bytes, name);
}

void Mapping::reserve(size_t offset, size_t bytes) {
  if (const int error = posix_fallocate(file_, static_cast<off_t>(offset), static_cast<off_t>(bytes))) {
    errno = error;
    refuse("posix_fallocate", "a window");
  }
}

char* Mapping::in_a_row(const std::vector<Part>& parts) {
  for (const Part& p : parts) row_bytes_ += p.bytes;
  void* row = mmap(nullptr, row_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (row == MAP_FAILED) refuse("mmap", "a result");
  row_ = row;
  char* at = static_cast<char*>(row);
  for (const Part& p : parts) {
    if (p.bytes == 0) continue;
    if (mmap(at, p.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_, static_cast<off_t>(p.offset)) == MAP_FAILED)
      refuse("mmap", "a slice");
    at += p.bytes;
  }
  return static_cast<char*>(row);
}

void Mapping::close_file() {
  if (file_ >= 0) close(std::exchange(file_, -1));
}

size_t MappedSegment::total_bytes(int size, size_t bytes, SegmentLayout layout) {
  const size_t windows = layout == SegmentLayout::Common ? 1 : static_cast<size_t>(size);
  return (windows + (layout == SegmentLayout::Apart ? 1 : 0)) * bytes;
}

MappedSegment::MappedSegment(int size, size_t bytes, SegmentLayout layout, Mapping mapping)
    : Segment(size, bytes, layout), mapping_(std::move(mapping)) {
  base_ = static_cast<char*>(mapping_.data());
  result_ = base_ + (layout == SegmentLayout::Apart ? static_cast<size_t>(size) * bytes : 0);
  if (layout == SegmentLayout::InPlace) {
    std::vector<Mapping::Part> parts;
    for (int r = 0; r < size; ++r)
      parts.push_back({static_cast<size_t>(r) * bytes + slice_begin(r), slice_begin(r + 1) - slice_begin(r)});
    result_ = mapping_.in_a_row(parts);
  }
  mapping_.close_file();
}

}  // namespace rf
