#include "io/record.h"

#include <cstring>

#include "base/crc32c.h"
#include "base/error.h"

namespace rf {

void RecordWriter::write(std::string_view record) {
  char head[12];
  const uint64_t length = record.size();
  std::memcpy(head, &length, 8);
  const uint32_t of_length = masked_crc32c(head, 8), of_data = masked_crc32c(record.data(), record.size());
  std::memcpy(head + 8, &of_length, 4);
  sink_->append(head, sizeof head);
  sink_->append(record.data(), record.size());
  sink_->append(reinterpret_cast<const char*>(&of_data), 4);
}

bool RecordReader::read(std::string* record) {
  const uint64_t begin = input_.offset();
  const auto damaged = [&](const char* what) {
    fail(Code::DataLoss, "[TFRecord] '", path_, "' is damaged at byte ", begin, ": ", what,
         ". Fix: take another copy of the file, or check that it holds TFRecords of this compression");
  };
  input_.read(12, &head_);
  if (head_.empty()) return false;
  if (head_.size() < 12) damaged("truncated record, its length is cut off");
  uint64_t length;
  uint32_t crc;
  std::memcpy(&length, head_.data(), 8);
  std::memcpy(&crc, head_.data() + 8, 4);
  if (crc != masked_crc32c(head_.data(), 8)) damaged("the crc32c of a length differs");
  input_.read(length, record);
  if (record->size() < length) damaged("truncated record");
  input_.read(4, &head_);
  if (head_.size() < 4) damaged("truncated record, its crc32c is cut off");
  std::memcpy(&crc, head_.data(), 4);
  if (crc != masked_crc32c(record->data(), record->size())) damaged("the crc32c of a record differs");
  return true;
}

}  // namespace rf
