// Training examples as TensorFlow serializes them: a map from names to lists of bytes, floats or int64s, read in columns.
//
// Example { Features { map<string, Feature { BytesList | FloatList | Int64List }> } }. Of a name that comes twice, the
// last counts; a Feature without a list counts as absent. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"

namespace rf {

// One feature of many examples: all values one after the other, and how many each example has.
struct FeatureColumn {
  static constexpr int64_t kAbsent = -1;

  std::string key;
  DType dtype = DType::Float;  // Float, Int64 or String
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
  std::vector<int64_t> counts;  // kAbsent where the example has no such feature

  template <class T>
  std::vector<T>& values();
};
template <>
inline std::vector<float>& FeatureColumn::values<float>() { return floats; }
template <>
inline std::vector<int64_t>& FeatureColumn::values<int64_t>() { return ints; }
template <>
inline std::vector<std::string>& FeatureColumn::values<std::string>() { return strings; }

class ExampleReader {
 public:
  // InvalidArgument where two columns have one key, or one has another dtype than examples can.
  explicit ExampleReader(std::vector<FeatureColumn> columns);

  // Appends the features of one example to the columns. InvalidArgument, beginning with `where`, for bytes that are no
  // Example and for values of another type than the column's.
  void add(std::string_view example, const std::string& where);
  std::vector<FeatureColumn>& columns() { return columns_; }

 private:
  void add_feature(FeatureColumn& column, std::string_view feature, const std::string& where);

  std::vector<FeatureColumn> columns_;
  std::unordered_map<std::string_view, size_t> places_;  // views of the columns' keys
  std::vector<std::string_view> found_;                  // of the example at hand: the Feature of each column
};

}  // namespace rf
