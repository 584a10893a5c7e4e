// The kinds of readers: what a record of a file is, and what its key.
//
// TextLineReaderV2 "file:line" from 1, FixedLengthRecordReaderV2 "file:index" from 0, TFRecordReaderV2 "file:offset",
// WholeFileReaderV2 and IdentityReaderV2 the name itself. Source: TensorFlow's readers.
#include <algorithm>

#include "io/file.h"
#include "io/record.h"
#include "kernels/file_reader.h"
#include "kernels/state.h"

namespace rf {
namespace {

using String = std::string;

class TextLines : public FileReader {
 public:
  TextLines(const Node& node, const String& name) : FileReader(node.op, name), skipped_(node.attr<int64_t>("skip_header_lines", 0)) {
    check(skipped_ >= 0, "[", node.op, "] skip_header_lines must be >= 0: got ", skipped_);
  }

 protected:
  void open(const String& work) override {
    input_ = std::make_unique<BufferedInput>(open_stream(work, Compression::None));
    String header;
    for (line_ = 0; line_ < skipped_ && input_->read_line(&header);) ++line_;
  }
  bool next(const String& work, String* key, String* value) override {
    if (!input_->read_line(value)) return false;
    *key = text(work, ":", ++line_);
    return true;
  }
  void leave() override { input_.reset(); }

 private:
  const int64_t skipped_;
  std::unique_ptr<BufferedInput> input_;
  int64_t line_ = 0;
};

class FixedLength : public FileReader {
 public:
  FixedLength(const Node& node, const String& name)
      : FileReader(node.op, name), header_(node.attr<int64_t>("header_bytes", 0)), record_(node.attr<int64_t>("record_bytes")),
        footer_(node.attr<int64_t>("footer_bytes", 0)), hop_(node.attr<int64_t>("hop_bytes", 0)),
        compression_(compression_of(node.attr<String>("encoding", ""))) {
    check(header_ >= 0 && record_ > 0 && footer_ >= 0 && hop_ >= 0, "[", node.op,
          "] record_bytes must be > 0, header_bytes, footer_bytes and hop_bytes >= 0: got ", record_, ", ", header_, ", ",
          footer_, ", ", hop_);
  }

 protected:
  void open(const String& work) override {
    input_ = std::make_unique<BufferedInput>(open_stream(work, compression_));
    const auto header = static_cast<uint64_t>(header_);
    window_.clear();
    index_ = 0;
    if (input_->skip(header) != header) fail(Code::OutOfRange, "[", kind(), "] '", work, "' is shorter than its header of ", header_, " bytes");
  }
  // The window holds the record to come and the footer behind it, as far as they were read.
  bool next(const String& work, String* key, String* value) override {
    const size_t record = static_cast<size_t>(record_), wanted = record + static_cast<size_t>(footer_);
    const size_t hop = hop_ ? static_cast<size_t>(hop_) : record;
    if (index_ != 0) {
      input_->skip(hop > window_.size() ? hop - window_.size() : 0);
      window_.erase(0, hop);
    }
    String more;
    input_->read(wanted - std::min(wanted, window_.size()), &more);
    window_ += more;
    if (window_.size() < wanted) return false;
    value->assign(window_, 0, record);
    *key = text(work, ":", index_++);
    return true;
  }
  void leave() override { input_.reset(); }

 private:
  const int64_t header_, record_, footer_, hop_;
  const Compression compression_;
  std::unique_ptr<BufferedInput> input_;
  String window_;
  int64_t index_ = 0;
};

class TFRecords : public FileReader {
 public:
  TFRecords(const Node& node, const String& name)
      : FileReader(node.op, name), compression_(compression_of(node.attr<String>("compression_type", ""))) {}

 protected:
  void open(const String& work) override { reader_ = std::make_unique<RecordReader>(work, compression_); }
  bool next(const String& work, String* key, String* value) override {
    *key = text(work, ":", reader_->offset());
    return reader_->read(value);
  }
  void leave() override { reader_.reset(); }

 private:
  const Compression compression_;
  std::unique_ptr<RecordReader> reader_;
};

// Its work is one record: `content` of the name.
template <class Content>
class Whole : public FileReader {
 public:
  Whole(const Node& node, const String& name) : FileReader(node.op, name) {}

 protected:
  void open(const String&) override { given_ = false; }
  bool next(const String& work, String* key, String* value) override {
    if (given_) return false;
    *value = Content::of(work);
    *key = work;
    return given_ = true;
  }
  void leave() override {}
  bool can_serialize() const override { return true; }

 private:
  bool given_ = false;
};

struct FileContent {
  static String of(const String& work) { return read_file(work); }
};
struct Itself {
  static String of(const String& work) { return work; }
};

// A reader lives in its container under shared_name, or else the node's name.
template <class R>
Kernel reader(const Node& node) {
  const String shared_name = node.attr<String>("shared_name", "");
  const String name = shared_name.empty() ? node.name : shared_name;
  return [node, name, container = node.attr<String>("container", ""), found = Cached<FileReader>()](Context& c) mutable {
    FileReader& reader = found.get(c.resources(), [&] {
      return c.resources().find_or_create<FileReader>(container, name, [&] { return std::make_shared<R>(node, name); });
    });
    check(reader.kind() == node.op, "[", node.op, "] shared reader '", name, "' is a ", reader.kind());
    c.set_resource_output(0, reader.shared_from_this());
  };
}

RF_KERNEL_ANY("TextLineReaderV2", None, reader<TextLines>)
RF_KERNEL_ANY("FixedLengthRecordReaderV2", None, reader<FixedLength>)
RF_KERNEL_ANY("TFRecordReaderV2", None, reader<TFRecords>)
RF_KERNEL_ANY("WholeFileReaderV2", None, reader<Whole<FileContent>>)
RF_KERNEL_ANY("IdentityReaderV2", None, reader<Whole<Itself>>)

}  // namespace
}  // namespace rf
