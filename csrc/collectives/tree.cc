#include "collectives/tree.h"

namespace rf::tree {
namespace {

// Ranks counted from the root: rank v's parent is v without its lowest bit.
struct Tree {
  Tree(const Group& group, int root) : p(group.size()), root(root), me((group.rank() - root + p) % p) {}
  int rank_of(int v) const { return (v + root) % p; }
  int parent() const { return rank_of(me & (me - 1)); }
  // The distance to the farthest child is below this.
  int reach() const {
    int reach = 1;
    while (reach < p && !(me & reach)) reach *= 2;
    return reach;
  }
  const int p, root, me;
};

}  // namespace

void reduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction, int root) {
  const Tree tree(group, root);
  widened(data, count, dtype, [&](void* wide, DType type) {
    const size_t bytes = static_cast<size_t>(count) * size_of(type);
    for (int distance = 1; distance < tree.reach(); distance *= 2)
      if (tree.me + distance < tree.p)
        receive_and_reduce(group, tree.rank_of(tree.me + distance), static_cast<char*>(wide), bytes, type, reduction,
                           Order::MineFirst);
    if (tree.me == 0) {
      if (reduction == Reduction::Mean) divide(type, wide, count, tree.p);
      return;
    }
    Requests requests(group);
    requests.send_all(tree.parent(), wide, bytes);
    requests.wait_all();
  });
}

void broadcast(Group& group, void* data, size_t bytes, int root) {
  const Tree tree(group, root);
  Requests requests(group);
  if (tree.me > 0) {
    requests.receive_all(tree.parent(), data, bytes);
    requests.wait_all();
  }
  for (int distance = tree.reach() / 2; distance >= 1; distance /= 2)  // the deepest subtree first
    if (tree.me + distance < tree.p) requests.send_all(tree.rank_of(tree.me + distance), data, bytes);
  requests.wait_all();
}

void allreduce(Group& group, void* data, int64_t count, DType dtype, Reduction reduction) {
  reduce(group, data, count, dtype, reduction, 0);
  broadcast(group, data, static_cast<size_t>(count) * size_of(dtype), 0);
}

}  // namespace rf::tree
