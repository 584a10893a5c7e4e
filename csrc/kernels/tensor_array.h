// A tensor array of one run: what the handles of TensorArrayV3 and TensorArrayGradV3 stand for.
//
// An index is written once and, unless the array keeps its elements, read once. A gradient array (one for each name of
// a source, kept by the array that it belongs to) adds up what is written to an index. Thread-safe; which of two writes
// comes first is the graph's affair. All errors are InvalidArgument and name the array. The semantics are those of
// graph/ops/tensor_array_reference.py.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/node.h"
#include "kernels/resource.h"

namespace rf {

class TensorArray : public Resource {
 public:
  struct Options {
    std::string name;
    DType dtype = DType::Invalid;
    PartialShape element_shape;
    bool dynamic_size = false;      // grows as it is written
    bool clear_after_read = true;
    bool identical_shapes = false;  // the first value written fixes the shape of all elements
    bool is_gradient = false;
  };

  TensorArray(Options options, int64_t size);

  // The gradient array of that source: made at the first call, of the size and shapes that this array has then; it does
  // not grow any more afterwards.
  std::shared_ptr<TensorArray> gradient(const std::string& source);

  // Values stay as they are while the array has them (Context::hold); elements may share their memory.
  void write(const char* where, int64_t index, Tensor value);
  // Element indices[i] becomes row i of `value`.
  void scatter(const char* where, const std::vector<int64_t>& indices, const Tensor& value);
  // The elements become the next lengths[i] rows of `value`, all of which are used.
  void split(const char* where, const std::vector<int64_t>& lengths, const Tensor& value);

  // What is read shares memory with the array: nobody may write to it.
  Tensor read(const char* where, int64_t index);
  std::vector<Tensor> read(const char* where, const std::vector<int64_t>& indices);
  std::vector<Tensor> read_all(const char* where);

  // What the array and `given` know together of the shape of elements.
  PartialShape row_shape(const char* where, const PartialShape& given);
  void check_dtype(const char* where, DType dtype) const;
  int64_t size(const char* where);
  void close();

 private:
  // Written without a value: zeros of `shape`, a gradient that nothing has reached yet.
  struct Element {
    Tensor value;
    Shape shape;
    bool written = false, read = false, cleared = false;
  };

  void locked_write(const char* where, int64_t index, Tensor value);
  Tensor locked_read(const char* where, int64_t index);
  void add(const char* where, int64_t index, const Tensor& value);
  void check_open(const char* where) const;
  template <class... Args>
  void require(bool ok, const char* where, const Args&... what) const;

  const std::string name_;
  const DType dtype_;
  const bool clear_after_read_, identical_, is_gradient_;

  std::mutex mutex_;
  PartialShape element_shape_;
  bool dynamic_size_;
  bool closed_ = false;
  bool aggregated_ = false;  // values were added up: there is no gradient of that
  std::vector<Element> elements_;
  std::map<std::string, std::shared_ptr<TensorArray>> gradients_;
};

}  // namespace rf
