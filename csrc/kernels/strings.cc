// Ops on strings: comparison, joining, hashing, matching, and decoding into numbers.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <regex>

#include "kernels/broadcast.h"
#include "kernels/farmhash.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

using String = std::string;

template <bool kEqual>
Kernel equality(const Node&) {
  return [](Context& c) {
    const Tensor &x = c.input(0), &y = c.input(1);
    const Shape* shapes[] = {&x.shape(), &y.shape()};
    const Broadcast b = broadcast(c.node().op, shapes, 2);
    Tensor& z = c.output(0, b.shape);
    if (z.num_elements() == 0) return;
    const Slab slab = inner_slab(b, 2);
    for_each_slab(b, 2, [&](const int64_t* offset, int64_t out) {
      for (int64_t r = 0; r < slab.rows; ++r)
        for (int64_t i = 0; i < slab.columns; ++i) {
          const String& p = x.data<String>()[offset[0] + r * slab.row_step[0] + i * slab.column_step[0]];
          const String& q = y.data<String>()[offset[1] + r * slab.row_step[1] + i * slab.column_step[1]];
          z.data<bool>()[out + r * slab.columns + i] = (p == q) == kEqual;
        }
    });
  };
}

Kernel join(const Node& node) {
  return [separator = node.attr<String>("separator", "")](Context& c) {
    Shape shape;  // scalars go with every element
    for (int k = 0; k < c.num_inputs(); ++k)
      if (c.input(k).rank() != 0) {
        check(shape.rank() == 0 || shape == c.input(k).shape(), "[StringJoin] inputs must be scalars or of one shape: got ",
              shape, " and ", c.input(k).shape());
        shape = c.input(k).shape();
      }
    Tensor& y = c.output(0, shape);
    for (int64_t i = 0; i < y.num_elements(); ++i) {
      String& out = y.data<String>()[i];
      out.clear();
      for (int k = 0; k < c.num_inputs(); ++k) {
        if (k != 0) out += separator;
        out += c.input(k).data<String>()[c.input(k).rank() ? i : 0];
      }
    }
  };
}

Kernel hash_bucket(const Node& node) {
  const int64_t buckets = node.attr<int64_t>("num_buckets");
  check(buckets >= 1, "[StringToHashBucketFast] num_buckets must be positive: got ", buckets);
  return [buckets](Context& c) {
    const Tensor& x = c.input(0);
    int64_t* out = c.output(0, x.shape()).data<int64_t>();
    for (int64_t i = 0; i < x.num_elements(); ++i)
      out[i] = static_cast<int64_t>(farmhash::fingerprint64(x.data<String>()[i]) % static_cast<uint64_t>(buckets));
  };
}

Kernel full_match(const Node& node) {
  std::regex pattern;
  try {
    pattern.assign(node.attr<String>("pattern"));
  } catch (const std::regex_error& e) {
    fail(Code::InvalidArgument, "[StaticRegexFullMatch] pattern '", node.attr<String>("pattern"), "' is not valid: ",
         e.what());
  }
  return [pattern](Context& c) {
    const Tensor& x = c.input(0);
    bool* out = c.output(0, x.shape()).data<bool>();
    for (int64_t i = 0; i < x.num_elements(); ++i) out[i] = std::regex_match(x.data<String>()[i], pattern);
  };
}

Kernel sharded_filename(const Node&) {
  return [](Context& c) {
    char end[64];
    std::snprintf(end, sizeof end, "-%05d-of-%05d", c.input(1).scalar<int32_t>(), c.input(2).scalar<int32_t>());
    *c.output(0, {}).data<String>() = c.input(0).scalar<String>() + end;
  };
}

// Every string becomes a row of numbers; all strings have one length.
template <class T>
Kernel decode_raw(const Node& node) {
  const bool little = node.attr<bool>("little_endian", true);
  return [little](Context& c) {
    const Tensor& x = c.input(0);
    const size_t length = x.num_elements() ? x.data<String>()[0].size() : 0;
    check(length % sizeof(T) == 0, "[DecodeRaw] strings must hold whole ", name_of(DTypeOf<T>::value), " numbers: got ",
          length, " bytes");
    Shape shape = x.shape();
    shape.add(static_cast<int64_t>(length / sizeof(T)));
    char* out = static_cast<char*>(c.output(0, shape).raw());
    for (int64_t i = 0; i < x.num_elements(); ++i, out += length) {
      const String& s = x.data<String>()[i];
      check(s.size() == length, "[DecodeRaw] all strings must have one length: got ", length, " and ", s.size());
      if (little || sizeof(T) == 1) {
        std::memcpy(out, s.data(), length);
      } else {
        for (size_t at = 0; at < length; at += sizeof(T)) std::reverse_copy(&s[at], &s[at] + sizeof(T), out + at);
      }
    }
  };
}

// The fields of one record of comma-separated values (RFC 4180). InvalidArgument for a quote in the wrong place.
std::vector<String> fields_of(const String& record, char delimiter, bool quotes) {
  std::vector<String> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < record.size(); ++i) {
    const char ch = record[i];
    if (quoted) {
      if (ch != '"') {
        fields.back() += ch;
      } else if (i + 1 < record.size() && record[i + 1] == '"') {
        fields.back() += '"';
        ++i;
      } else {
        quoted = false;
        check(i + 1 == record.size() || record[i + 1] == delimiter,
              "[DecodeCSV] a quoted field must end at a delimiter: got '", record, "'");
      }
    } else if (ch == delimiter) {
      fields.emplace_back();
    } else if (quotes && ch == '"') {
      check(fields.back().empty(), "[DecodeCSV] an unquoted field must not hold quotes: got '", record, "'");
      quoted = true;
    } else {
      fields.back() += ch;
    }
  }
  check(!quoted, "[DecodeCSV] a quoted field must end: got '", record, "'");
  return fields;
}

template <class T>
T number(const String& text, size_t column) {
  char* end = nullptr;
  T value{};
  if constexpr (std::is_same_v<T, float>) {
    value = std::strtof(text.c_str(), &end);
  } else if constexpr (std::is_same_v<T, double>) {
    value = std::strtod(text.c_str(), &end);
  } else {
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    end = result.ec == std::errc() ? const_cast<char*>(result.ptr) : nullptr;
  }
  check(!text.empty() && end == text.data() + text.size(), "[DecodeCSV] field ", column, " must be ",
        name_of(DTypeOf<T>::value), ": got '", text, "'");
  return value;
}

void store(Tensor& y, int64_t i, const String& text, size_t column) {
  switch (y.dtype()) {
    case DType::Float: y.data<float>()[i] = number<float>(text, column); return;
    case DType::Double: y.data<double>()[i] = number<double>(text, column); return;
    case DType::Int32: y.data<int32_t>()[i] = number<int32_t>(text, column); return;
    case DType::Int64: y.data<int64_t>()[i] = number<int64_t>(text, column); return;
    case DType::String: y.data<String>()[i] = text; return;
    default: fail(Code::Unimplemented, "[DecodeCSV] ", name_of(y.dtype()), " fields are not supported");
  }
}

Kernel decode_csv(const Node& node) {
  const auto delimiter = node.attr<String>("field_delim", ",");
  check(delimiter.size() == 1, "[DecodeCSV] field_delim must be one character: got '", delimiter, "'");
  return [delimiter = delimiter[0], quotes = node.attr<bool>("use_quote_delim", true),
          absent = node.attr<String>("na_value", ""), columns = node.list<int64_t>("select_cols")](Context& c) {
    const Tensor& records = c.input(0);
    const int n = c.num_outputs();
    std::vector<Tensor*> outputs;
    for (int k = 0; k < n; ++k) outputs.push_back(&c.output(k, records.shape()));
    for (int64_t i = 0; i < records.num_elements(); ++i) {
      const auto fields = fields_of(records.data<String>()[i], delimiter, quotes);
      check(!columns.empty() || fields.size() == static_cast<size_t>(n), "[DecodeCSV] expect ", n, " fields but have ",
            fields.size(), " in record ", i);
      for (int k = 0; k < n; ++k) {
        const size_t column = columns.empty() ? static_cast<size_t>(k) : static_cast<size_t>(columns[static_cast<size_t>(k)]);
        check(column < fields.size(), "[DecodeCSV] record ", i, " has no field ", column);
        Tensor& y = *outputs[static_cast<size_t>(k)];
        if (!fields[column].empty() && fields[column] != absent) {
          store(y, i, fields[column], column);
          continue;
        }
        const Tensor& value = c.input(k + 1);
        check(value.num_elements() == 1, "[DecodeCSV] field ", column, " is required but missing in record ", i);
        if (y.dtype() == DType::String)
          y.data<String>()[i] = *value.data<String>();
        else
          std::memcpy(static_cast<char*>(y.raw()) + static_cast<size_t>(i) * size_of(y.dtype()), value.raw(),
                      size_of(y.dtype()));
      }
    }
  };
}

const Registration equal("Equal", "T", Sharing::None, {{DType::String, &equality<true>}});
const Registration not_equal("NotEqual", "T", Sharing::None, {{DType::String, &equality<false>}});
RF_KERNEL_ANY("StringJoin", None, join)
RF_KERNEL_ANY("StringToHashBucketFast", None, hash_bucket)
RF_KERNEL_ANY("StaticRegexFullMatch", None, full_match)
RF_KERNEL_ANY("ShardedFilename", None, sharded_filename)
RF_KERNEL_BY("DecodeRaw", "out_type", decode_raw, float, double, int32_t, uint8_t, int16_t, int8_t, int64_t, uint16_t)
RF_KERNEL_ANY("DecodeCSV", None, decode_csv)

}  // namespace
}  // namespace rf
