// Checkpoints in a graph: SaveV2, RestoreV2, MergeV2Checkpoints. The files are those of io/bundle.h.
//
// Each takes lists of names and slices that go together. An error names what it is about, and leaves no half of a file.
#include "io/bundle.h"
#include "kernels/kernel.h"

namespace rf {
namespace {

using String = std::string;

// The names and slices of a save or a restore, one of each for each tensor.
struct Wanted {
  const String& prefix;
  const String* names;
  const String* slices;
};

Wanted wanted(const Context& c, int tensors) {
  const Tensor &names = c.input(1), &slices = c.input(2);
  check(names.rank() == 1 && slices.shape() == names.shape() && names.num_elements() == tensors, "[", c.node().op,
        "] tensor_names and shape_and_slices must be vectors with one string for each tensor: got ", names.shape(), " and ",
        slices.shape(), " for ", tensors);
  return {c.input(0).data<String>()[0], names.data<String>(), slices.data<String>()};
}

Kernel save(const Node&) {
  return [](Context& c) {
    check(c.input(0).num_elements() == 1, "[SaveV2] prefix must be a scalar: got ", c.input(0).shape());
    const int n = c.num_inputs() - 3;
    const Wanted w = wanted(c, n);
    BundleWriter bundle(w.prefix);
    for (int k = 0; k < n; ++k) {
      const Tensor& value = c.input(k + 3);
      if (w.slices[k].empty())
        bundle.add(w.names[k], value);
      else
        bundle.add_slice(w.names[k], parse_shape_and_slice(w.slices[k]), value);
    }
    bundle.finish();
  };
}

Kernel restore(const Node&) {
  return [](Context& c) {
    check(c.input(0).num_elements() == 1, "[RestoreV2] prefix must be a scalar: got ", c.input(0).shape());
    const Wanted w = wanted(c, c.num_outputs());
    const BundleReader bundle(w.prefix);
    for (int k = 0; k < c.num_outputs(); ++k) {
      const DType dtype = bundle.entry(w.names[k]).dtype;
      check(dtype == c.output_dtype(k), "[RestoreV2] '", w.names[k], "' must have the dtype that it was saved with: expected ",
            name_of(c.output_dtype(k)), ", the checkpoint has ", name_of(dtype), ". Fix: restore it as that and cast");
      c.set_output(k, w.slices[k].empty() ? bundle.read(w.names[k])
                                          : bundle.read_slice(w.names[k], parse_shape_and_slice(w.slices[k])));
    }
  };
}

Kernel merge(const Node& node) {
  return [delete_old = node.attr<bool>("delete_old_dirs", true),
          allow_missing = node.attr<bool>("allow_missing_files", false)](Context& c) {
    const Tensor& prefixes = c.input(0);
    const auto* first = prefixes.data<String>();
    const std::vector<String> all(first, first + prefixes.num_elements());
    check(c.input(1).num_elements() == 1, "[MergeV2Checkpoints] destination_prefix must be a scalar: got ", c.input(1).shape());
    const String& destination = *c.input(1).data<String>();
    merge_bundles(all, destination, allow_missing);
    if (!delete_old) return;
    for (const String& prefix : all)
      if (folder_of(prefix) != folder_of(destination)) remove_empty_folder(folder_of(prefix));
  };
}

RF_KERNEL_ANY("SaveV2", None, save)
RF_KERNEL_ANY("RestoreV2", None, restore)
RF_KERNEL_ANY("MergeV2Checkpoints", None, merge)

}  // namespace
}  // namespace rf
