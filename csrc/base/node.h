// One node of a GraphDef as the runtime holds it: name, op, inputs and typed attrs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/partial_shape.h"
#include "base/tensor.h"

namespace rf {

using AttrValue = std::variant<std::monostate, std::string, int64_t, float, bool, DType, PartialShape, Tensor,
                               std::vector<std::string>, std::vector<int64_t>, std::vector<float>, std::vector<bool>,
                               std::vector<DType>, std::vector<PartialShape>>;

struct Node {
  std::string name;
  std::string op;
  std::string device;
  std::vector<std::string> inputs;  // "n", "n:1", "^n": control inputs last
  std::map<std::string, AttrValue> attrs;

  bool has(const std::string& key) const { return attrs.count(key) != 0; }

  // The attr's value; InvalidArgument where it is absent or of another type.
  template <class T>
  const T& attr(const std::string& key) const {
    auto it = attrs.find(key);
    check(it != attrs.end(), "[", op, "] node '", name, "' has no attr '", key, "'");
    const T* value = std::get_if<T>(&it->second);
    check(value != nullptr, "[", op, "] attr '", key, "' of node '", name, "' has the wrong type");
    return *value;
  }
  template <class T>
  T attr(const std::string& key, const T& absent) const {
    return has(key) ? attr<T>(key) : absent;
  }
  // A list attr. An empty list on the wire does not say its type.
  template <class T>
  std::vector<T> list(const std::string& key) const {
    auto it = attrs.find(key);
    if (it == attrs.end() || std::holds_alternative<std::monostate>(it->second)) return {};
    return attr<std::vector<T>>(key);
  }
};

}  // namespace rf
