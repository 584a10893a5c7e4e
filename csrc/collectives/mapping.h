// Memory that several mappings show: a shared-memory object, and the segments of windows that are made of one.
//
// Threads: one at a time. Source: POSIX shm_open, Linux memfd_create, mmap(MAP_FIXED).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "collectives/windows.h"

namespace rf {

// Throws Unavailable, with the call and its reason, where the memory cannot be had.
class Mapping {
 public:
  Mapping(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  ~Mapping();

  static Mapping create(const std::string& name, size_t bytes);
  static Mapping open(const std::string& name, size_t bytes);
  // Without a name: for the threads of this process.
  static Mapping anonymous(size_t bytes);

  void* data() const { return data_; }
  // Reserves the pages, on this processor's NUMA node, so that a full /dev/shm is an error here and not a SIGBUS later.
  void reserve(size_t offset, size_t bytes);
  // The same memory once more: these parts of it, whole pages, one after the other. Ends with the mapping.
  struct Part {
    size_t offset, bytes;
  };
  char* in_a_row(const std::vector<Part>& parts);
  // Nothing more will be reserved or shown.
  void close_file();

 private:
  Mapping(int file, size_t bytes, const std::string& name);

  void* data_ = nullptr;
  size_t bytes_;
  int file_;
  void* row_ = nullptr;
  size_t row_bytes_ = 0;
};

class MappedSegment : public Segment {
 public:
  static size_t total_bytes(int size, size_t bytes, SegmentLayout layout);
  // `mapping` of total_bytes.
  MappedSegment(int size, size_t bytes, SegmentLayout layout, Mapping mapping);

 private:
  Mapping mapping_;
};

}  // namespace rf
