// The index of a checkpoint as bytes: header and entries in the form of TensorFlow's BundleHeaderProto, BundleEntryProto.
#pragma once

#include <map>
#include <string>

#include "io/bundle.h"

namespace rf {

struct BundleIndex {
  int num_shards = 1;
  std::map<std::string, BundleEntry> entries;
};

std::string encode_index(const BundleIndex& index);
// DataLoss, naming `path`, where the bytes are not an index; Unimplemented for one that needs a newer reader.
BundleIndex decode_index(const std::string& bytes, const std::string& path);

}  // namespace rf
