// The frames and iterations of one run: who waits for how many tokens, and what a finished node makes ready.
//
// Not thread-safe: the run's lock is held around every call, but for the slots, which belong to whoever runs a node:
// before its last reader has finished, a slot is written by its node alone and read by its readers alone.
// Invariant: a slot is empty when its iteration begins. Nothing is destroyed under the lock, because the death of a token
// may call into other runs: what is left over goes to `Dropped`.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "runtime/dataflow_plan.h"
#include "runtime/token.h"

namespace rf {

struct Frame;

struct Iteration {
  explicit Iteration(const FlowFrame& plan);
  Slot* const* inputs_of(const FlowNode& node) const { return inputs.get() + node.first_input; }
  // The same in every partition of a graph: names of the frames around, each with the number of the iteration.
  std::string name() const;
  // Whether the reader that asks is the last of the value.
  bool last_reader(const FlowValue& value) const {
    return value.counter < 0 || readers[static_cast<size_t>(value.counter)].load(std::memory_order_acquire) == 1;
  }

  Frame* frame = nullptr;
  int64_t number = 0;
  int ops = 0;           // ready or running
  int frames = 0;        // children that are not done
  int64_t finished = 0;  // nodes
  std::unique_ptr<Slot[]> slots;                     // by value
  std::unique_ptr<Slot*[]> inputs;                   // as FlowFrame::inputs
  std::unique_ptr<std::atomic<int>[]> readers;       // left, by counter
  std::vector<Count> counts;                         // by node
  std::vector<int> live;                             // by Merge: its first live input, or -1
  std::vector<Frame*> children;
};

struct Frame {
  explicit Frame(const FlowFrame& plan);
  Iteration*& at(int64_t number) { return iterations[static_cast<size_t>(number) % iterations.size()]; }

  const FlowFrame* plan;
  Iteration* parent = nullptr;
  int64_t latest = 0;           // number of the last iteration begun
  int running = 0;              // iterations
  int enters_left = 0;
  std::vector<Iteration*> iterations;
  std::vector<const FlowNode*> dead_exits;  // of the latest iteration
  std::vector<char> exited;                 // by Exit: it has let a live token out
  std::vector<const FlowNode*> held;        // NextIterations, until there may be another iteration
  std::unique_ptr<Slot[]> held_tokens;      // by NextIteration
  std::vector<std::pair<const FlowNode*, bool>> invariants;  // constant Enters that have come, and whether dead
  std::unique_ptr<Slot[]> invariant_tokens;                  // by constant Enter
};

struct Ready {
  Iteration* iteration;
  const FlowNode* node;
  int place;  // in the order of the plan
  bool dead;
};

// Tokens that nobody will read.
struct Dropped {
  std::vector<Tensor> tensors;
  std::vector<std::shared_ptr<Resource>> resources;

  void take(Slot& slot);
  bool any() const { return !tensors.empty() || !resources.empty(); }
  void clear() {
    tensors.clear();
    resources.clear();
  }
};

class FrameStates {
 public:
  explicit FrameStates(const FlowPlan& plan);

  // Begins the outermost frame; its nodes without inputs are ready.
  void start(std::vector<Ready>& ready);
  // `done` has run, or was dead. `chosen`: of a Switch the output that lives, else -1. `passing`: the token of an Enter,
  // Exit or NextIteration. Adds the nodes that are ready now. InvalidArgument where the graph breaks a rule that only
  // shows in a run.
  void finish(const Ready& done, int chosen, Slot& passing, std::vector<Ready>& ready, Dropped& dropped);
  // Whether all nodes of the outermost frame have finished; if so, everything is as before `start`.
  bool complete() const { return complete_; }
  // Nodes that have not run, of the frames that are not done; at most `most`.
  std::vector<const Node*> unfinished(size_t most) const;

 private:
  struct Step;  // what one call of finish works on

  Iteration& begin(Frame& frame, int64_t number);
  void end(Iteration& iteration, Dropped& dropped);
  Frame& child_of(Iteration& parent, int frame);
  void enter(Step& step);
  void exit(Step& step);
  void next(Step& step);
  void begin_next(Frame& frame, std::vector<Ready>& ready);
  static void deliver_token(const FlowNode& writer, Slot& token, Iteration& to, bool last);
  static void deliver(const FlowNode& writer, Iteration& to, bool dead, int chosen, std::vector<Ready>& ready);
  void settle(Frame* frame, Iteration* iteration, Step& step);
  Iteration* close(Frame& frame, Step& step);

  const FlowPlan& plan_;
  bool complete_ = false;
  Frame* root_ = nullptr;
  std::vector<std::unique_ptr<Iteration>> iterations_;  // all that there are
  std::vector<std::unique_ptr<Frame>> frames_;
  std::vector<std::vector<Iteration*>> idle_iterations_;  // by frame of the plan
  std::vector<std::vector<Frame*>> idle_frames_;
  std::vector<Frame*> live_;  // frames that are not done, for reports
};

}  // namespace rf
