// Files: reading at an offset, and writing so that a reader sees the whole file or the one before it.
//
// Every failed system call becomes an Error of the matching code (NotFound, PermissionDenied, ResourceExhausted where the
// disk is full, ...) that names the file. An object belongs to one thread at a time; InputFile::read may be shared.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rf {

class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  // Bytes of the file when it was opened.
  uint64_t size() const { return size_; }
  // Up to `bytes` bytes from `offset`; fewer only at the end of the file.
  size_t read(uint64_t offset, void* data, size_t bytes) const;

 private:
  std::string path_;
  int file_ = -1;
  uint64_t size_ = 0;
};

// A file under a temporary name until `commit`; without it, nothing is left behind. Or (`Appears::AsWritten`) one that
// others may read while it grows.
class OutputFile {
 public:
  enum class Appears { Whole, AsWritten };

  explicit OutputFile(const std::string& path, Appears appears = Appears::Whole);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return written_ + buffer_.size(); }
  void append(const void* data, size_t bytes);
  void append(std::string_view data) { append(data.data(), data.size()); }
  // What was appended can be read by others.
  void flush();
  // The file is on the disk, then has its name: a crash leaves the old file or the new one.
  void commit();

 private:
  void write(const char* data, size_t bytes);

  std::string path_, temporary_;  // equal where the file appears as it is written
  int file_ = -1;
  uint64_t written_ = 0;
  std::string buffer_;
};

// Throws the Error of `number` (an errno): "[where] cannot <what> <path>: <system's text>."
[[noreturn]] void fail_system(int number, const char* what, const std::string& path);

std::string read_file(const std::string& path);
// Also makes the folders above it. The content is there wholly or not at all.
void write_file(const std::string& path, std::string_view content);
void rename_file(const std::string& from, const std::string& to);
void remove_file(const std::string& path);
// Removes a folder that is empty; leaves any other.
void remove_empty_folder(const std::string& path);
bool file_exists(const std::string& path);
// Everything before the last '/', or ".".
std::string folder_of(const std::string& path);
void make_folders(const std::string& path);
// The paths that match a shell pattern (*, ?, [..]; '/' is matched by '/' alone), sorted.
std::vector<std::string> matching_files(const std::string& pattern);

}  // namespace rf
