// What is done with readers, and whole files: ReaderReadV2, ReaderReadUpToV2, ..., ReadFile, WriteFile, MatchingFiles.
#include <algorithm>

#include "io/file.h"
#include "kernels/file_reader.h"

namespace rf {
namespace {

using String = std::string;

Tensor strings(std::vector<String> values, const Shape& shape) {
  Tensor t(DType::String, shape);
  std::move(values.begin(), values.end(), t.data<String>());
  return t;
}

template <bool kUpTo>
AsyncKernel read(const Node&) {
  return [](Context& c, Done done) {
    std::shared_ptr<FileReader> reader;
    std::shared_ptr<Queue> queue;
    int64_t count = 1;
    const bool fit = succeeds(done, [&] {
      reader = c.resource<FileReader>(0);
      queue = c.resource<Queue>(1);
      check(queue->spec().dtypes == std::vector<DType>{DType::String}, "[", c.node().op,
            "] the queue must hold names of files, one string each: '", queue->spec().name, "' holds something else");
      if (kUpTo) count = c.input(2).scalar<int64_t>();
      check(count > 0, "[", c.node().op, "] num_records must be positive: got ", count);
    });
    if (!fit) return;
    const auto take = [&c](FileReader::Records records) {
      Shape shape;
      if (kUpTo) shape.add(static_cast<int64_t>(records.keys.size()));
      c.set_output(0, strings(std::move(records.keys), shape));
      c.set_output(1, strings(std::move(records.values), shape));
    };
    reader->read(count, std::move(queue), c.run().cancellation, take, std::move(done));
  };
}

Kernel records_produced(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<int64_t>() = c.resource<FileReader>(0)->records_produced(); };
}
Kernel work_units_completed(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<int64_t>() = c.resource<FileReader>(0)->work_units_completed(); };
}
Kernel reset(const Node&) {
  return [](Context& c) { c.resource<FileReader>(0)->reset(); };
}
Kernel serialize(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<String>() = c.resource<FileReader>(0)->serialize(); };
}
Kernel restore(const Node&) {
  return [](Context& c) { c.resource<FileReader>(0)->restore(c.input(1).scalar<String>()); };
}

// ---- whole files
Kernel read_whole(const Node&) {
  return [](Context& c) { *c.output(0, {}).data<String>() = read_file(c.input(0).scalar<String>()); };
}
Kernel write_whole(const Node&) {
  return [](Context& c) { write_file(c.input(0).scalar<String>(), c.input(1).scalar<String>()); };
}
Kernel matching(const Node&) {
  return [](Context& c) {
    const Tensor& patterns = c.input(0);
    check(patterns.rank() <= 1, "[MatchingFiles] pattern must be a scalar or a vector: got ", patterns.shape());
    std::vector<String> all;
    for (int64_t i = 0; i < patterns.num_elements(); ++i)
      for (String& path : matching_files(patterns.data<String>()[i])) all.push_back(std::move(path));
    std::sort(all.begin(), all.end());
    const Shape shape{static_cast<int64_t>(all.size())};
    c.set_output(0, strings(std::move(all), shape));
  };
}

RF_KERNEL_ASYNC("ReaderReadV2", read<false>)
RF_KERNEL_ASYNC("ReaderReadUpToV2", read<true>)
RF_KERNEL_ANY("ReaderNumRecordsProducedV2", None, records_produced)
RF_KERNEL_ANY("ReaderNumWorkUnitsCompletedV2", None, work_units_completed)
RF_KERNEL_ANY("ReaderResetV2", None, reset)
RF_KERNEL_ANY("ReaderSerializeStateV2", None, serialize)
RF_KERNEL_ANY("ReaderRestoreStateV2", None, restore)
RF_KERNEL_ANY("ReadFile", None, read_whole)
RF_KERNEL_ANY("WriteFile", None, write_whole)
RF_KERNEL_ANY("MatchingFiles", None, matching)

}  // namespace
}  // namespace rf
