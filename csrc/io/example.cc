#include "io/example.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/protobuf.h"

namespace rf {
namespace {

const char* kind_of(uint32_t field) { return field == 1 ? "string" : field == 2 ? "float32" : "int64"; }

void read_strings(Reader list, std::vector<std::string>& out) {
  while (list.next())
    if (list.tag() == tag(1, Wire::Bytes))
      out.emplace_back(list.bytes());
    else
      list.skip();
}

void read_floats(Reader list, std::vector<float>& out) {
  while (list.next()) switch (list.tag()) {
      case tag(1, Wire::Bytes): {  // packed: little-endian, as in memory
        const std::string_view packed = list.bytes();
        if (packed.size() % 4 != 0) list.corrupt("packed floats are not whole");
        const size_t before = out.size();
        out.resize(before + packed.size() / 4);
        if (!packed.empty()) std::memcpy(out.data() + before, packed.data(), packed.size());
        break;
      }
      case tag(1, Wire::Fixed32): out.push_back(list.float32()); break;
      default: list.skip();
    }
}

void read_ints(Reader list, std::vector<int64_t>& out) {
  while (list.next()) switch (list.tag()) {
      case tag(1, Wire::Bytes): read_repeated(list, true, out, [](Reader& r) { return r.integer(); }); break;
      case tag(1, Wire::Varint): out.push_back(list.integer()); break;
      default: list.skip();
    }
}

Reader message(std::string_view bytes, const char* name) { return Reader(bytes, name, 64, "Example"); }

}  // namespace

ExampleReader::ExampleReader(std::vector<FeatureColumn> columns) : columns_(std::move(columns)), found_(columns_.size()) {
  for (size_t i = 0; i < columns_.size(); ++i) {
    const FeatureColumn& c = columns_[i];
    check(c.dtype == DType::Float || c.dtype == DType::Int64 || c.dtype == DType::String, "[ParseExample] feature '", c.key,
          "' must be float32, int64 or string: got ", name_of(c.dtype));
    check(places_.emplace(c.key, i).second, "[ParseExample] feature '", c.key, "' is asked for twice");
  }
}

void ExampleReader::add(std::string_view example, const std::string& where) {
  std::fill(found_.begin(), found_.end(), std::string_view());
  try {
    for (Reader r = message(example, "Example"); r.next();) {
      if (r.tag() != tag(1, Wire::Bytes)) {
        r.skip();
        continue;
      }
      for (Reader features = r.message("Features"); features.next();) {
        if (features.tag() != tag(1, Wire::Bytes)) {
          features.skip();
          continue;
        }
        std::string_view key, feature;
        for (Reader entry = features.message("Features.FeatureEntry"); entry.next();) switch (entry.tag()) {
            case tag(1, Wire::Bytes): key = entry.bytes(); break;
            case tag(2, Wire::Bytes): feature = entry.bytes(); break;
            default: entry.skip();
          }
        const auto place = places_.find(key);
        if (place != places_.end()) found_[place->second] = feature;
      }
    }
    for (size_t i = 0; i < columns_.size(); ++i) add_feature(columns_[i], found_[i], where);
  } catch (const Error& e) {
    if (e.code != Code::DataLoss) throw;
    fail(Code::InvalidArgument, where, "could not parse example input: ", e.what());
  }
}

void ExampleReader::add_feature(FeatureColumn& c, std::string_view feature, const std::string& where) {
  const uint32_t wanted = c.dtype == DType::String ? 1 : c.dtype == DType::Float ? 2 : 3;
  const size_t before = c.floats.size() + c.ints.size() + c.strings.size();
  bool present = false;
  for (Reader r = message(feature, "Feature"); r.next();) {
    const uint32_t field = r.tag() >> 3;
    if ((r.tag() & 7) != static_cast<uint32_t>(Wire::Bytes) || field > 3) {
      r.skip();
      continue;
    }
    check(field == wanted, where, "Key: ", c.key, ". Data types don't match. Expected type: ", name_of(c.dtype),
          " but the example has ", kind_of(field));
    present = true;
    Reader list = r.message("values");
    if (wanted == 1) read_strings(list, c.strings);
    if (wanted == 2) read_floats(list, c.floats);
    if (wanted == 3) read_ints(list, c.ints);
  }
  c.counts.push_back(present ? static_cast<int64_t>(c.floats.size() + c.ints.size() + c.strings.size() - before)
                             : FeatureColumn::kAbsent);
}

}  // namespace rf
