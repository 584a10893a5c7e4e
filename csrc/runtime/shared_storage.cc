#include "runtime/shared_storage.h"

#include <algorithm>

#include "runtime/memory.h"

namespace rf {
namespace {

class StorageSharing {
 public:
  explicit StorageSharing(Plan& plan) : plan_(plan), part_of_(plan.storages.size()) {}

  void share() {
    join_inputs();
    reuse_inputs();
    lay_out();
  }

 private:
  // Where a storage lies: in another one, or in itself.
  struct Part {
    int storage = -1;
    int64_t offset = 0;
  };

  Value& value(int v) { return plan_.values[static_cast<size_t>(v)]; }
  Storage& storage(int v) { return plan_.storages[static_cast<size_t>(root(value(v).storage).storage)]; }

  // Puts the inputs of ops that join them where they belong in the output.
  void join_inputs() {
    for (const PlanNode& p : plan_.nodes) {
      if (!p.kernel || p.kernel->sharing != Sharing::Joins || p.num_outputs != 1) continue;
      const int into = value(p.first_output).storage;
      int64_t offset = 0;
      for (int v : p.inputs) {
        const Value& in = value(v);
        if (in.bytes < 0) break;
        if (may_join(in, into, offset)) {
          plan_.storages[static_cast<size_t>(into)].joined = true;
          merge(into, in.storage, offset);
        }
        offset += in.bytes;
      }
    }
  }

  bool may_join(const Value& in, int into, int64_t offset) const {
    const Storage &s = plan_.storages[static_cast<size_t>(in.storage)], &to = plan_.storages[static_cast<size_t>(into)];
    return s.place == Place::Arena && to.place == Place::Arena && in.bytes == static_cast<int64_t>(s.bytes) &&
           offset + in.bytes <= static_cast<int64_t>(to.bytes) && part_of_[static_cast<size_t>(in.storage)].storage < 0;
  }

  // In order of execution, so that a chain of in-place ops ends up in one storage.
  void reuse_inputs() {
    for (size_t i = 0; i < plan_.nodes.size(); ++i) {
      PlanNode& p = plan_.nodes[i];
      if (!p.kernel || p.num_outputs == 0) continue;
      const bool any = p.kernel->sharing == Sharing::InPlace;
      if (!any && p.kernel->sharing != Sharing::OverFirst) continue;
      const int own = value(p.first_output).storage;
      if (storage(p.first_output).place != Place::Arena || root(own).storage != own) continue;
      for (size_t k = 0; k < (any ? p.inputs.size() : std::min<size_t>(1, p.inputs.size())) && p.in_place < 0; ++k)
        if (may_overwrite(p, p.inputs[k], static_cast<int>(i)) && (any || alone(p))) p.in_place = static_cast<int>(k);
      if (p.in_place < 0) continue;
      const Value& in = value(p.inputs[static_cast<size_t>(p.in_place)]);
      const Part at = root(in.storage);
      merge(at.storage, own, at.offset + in.offset);
    }
  }

  bool may_overwrite(const PlanNode& p, int input, int position) {
    const Value& in = value(input);
    const Value& out = value(p.first_output);
    const Storage& s = storage(input);
    if (s.place != Place::Arena || in.dtype != out.dtype || in.bytes != out.bytes) return false;
    if (s.bytes == static_cast<size_t>(in.bytes) ? s.last != position : !part_is_free(input, s, position)) return false;
    // another input in the same memory must be the same elements in the same order
    for (int other : p.inputs)
      if (&storage(other) == &s && (value(other).bytes != in.bytes || value(other).dtype != in.dtype))
        return false;
    return true;
  }

  // Whether nobody reads elements of a part after this, by any name.
  bool part_is_free(int part, const Storage& s, int position) const {
    const Value& in = plan_.values[static_cast<size_t>(part)];
    if (s.joined || in.whole < 0 || in.divisions > 0 || in.last != position) return false;
    if (in.offset < 0 || in.offset + in.bytes > static_cast<int64_t>(s.bytes)) return false;
    for (int w = in.whole; w >= 0;) {
      const Value& whole = plan_.values[static_cast<size_t>(w)];
      if (!whole.owner && whole.whole < 0) return false;
      if (whole.last >= position || whole.divisions > 1) return false;
      w = whole.whole;
    }
    return true;
  }

  // Whether no other input is in the memory of the first one.
  bool alone(const PlanNode& p) {
    return std::none_of(p.inputs.begin() + 1, p.inputs.end(), [&](int v) { return &storage(v) == &storage(p.inputs[0]); });
  }

  Part root(int s) const {
    Part at{s, 0};
    for (Part next; (next = part_of_[static_cast<size_t>(at.storage)]).storage >= 0;)
      at = {next.storage, at.offset + next.offset};
    return at;
  }

  void merge(int into, int from, int64_t offset) {
    part_of_[static_cast<size_t>(from)] = {into, offset};
    Storage &s = plan_.storages[static_cast<size_t>(into)], &part = plan_.storages[static_cast<size_t>(from)];
    s.first = std::min(s.first, part.first);
    s.last = std::max(s.last, part.last);
  }

  void lay_out() {
    for (Value& v : plan_.values) {
      const Part at = root(v.storage);
      v.storage = at.storage;
      v.offset += at.offset;
    }
    std::vector<Block> blocks;
    std::vector<size_t> owners;
    for (size_t i = 0; i < plan_.storages.size(); ++i) {
      const Storage& s = plan_.storages[i];
      if (s.place != Place::Arena || part_of_[i].storage >= 0) continue;
      blocks.push_back({s.bytes, s.first, s.last});
      owners.push_back(i);
    }
    const Layout layout = place(blocks);
    for (size_t i = 0; i < owners.size(); ++i) plan_.storages[owners[i]].offset = layout.offsets[i];
    plan_.arena_bytes = layout.bytes;
  }

  Plan& plan_;
  std::vector<Part> part_of_;  // of a storage in another one: where it is
};

}  // namespace

void share_storage(Plan& plan) { StorageSharing(plan).share(); }

}  // namespace rf
