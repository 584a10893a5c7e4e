#include "runtime/frames.h"

#include <algorithm>
#include <utility>

namespace rf {

std::string Iteration::name() const {
  if (!frame->parent) return "0:0";
  const std::string outer = frame->parent->frame->parent ? frame->parent->name() + '/' : "";
  return outer + frame->plan->name + ':' + std::to_string(number);
}

Iteration::Iteration(const FlowFrame& plan)
    : slots(new Slot[plan.values.size()]), inputs(new Slot*[plan.inputs.size()]),
      readers(new std::atomic<int>[plan.readers.size()]), live(static_cast<size_t>(plan.merges)),
      children(static_cast<size_t>(plan.children), nullptr) {
  for (size_t v = 0; v < plan.values.size(); ++v) slots[v].dtype = plan.values[v].dtype;
  for (size_t k = 0; k < plan.inputs.size(); ++k) inputs[k] = &slots[static_cast<size_t>(plan.inputs[k])];
}

Frame::Frame(const FlowFrame& p)
    : plan(&p), iterations(static_cast<size_t>(p.parallel_iterations) + 1, nullptr),
      held_tokens(new Slot[static_cast<size_t>(p.next_iterations)]),
      invariant_tokens(new Slot[static_cast<size_t>(p.constant_enters)]) {}

void Dropped::take(Slot& slot) {
  if (slot.own.initialized()) tensors.push_back(std::move(slot.own));
  if (slot.resource) resources.push_back(std::move(slot.resource));
  rf::clear(slot);
}

struct FrameStates::Step {
  const Ready& done;
  const int chosen;
  Slot& passing;
  std::vector<Ready>& ready;
  Dropped& dropped;
};

FrameStates::FrameStates(const FlowPlan& plan)
    : plan_(plan), idle_iterations_(plan.frames.size()), idle_frames_(plan.frames.size()) {}

void FrameStates::start(std::vector<Ready>& ready) {
  complete_ = false;
  if (idle_frames_[0].empty()) {
    frames_.push_back(std::make_unique<Frame>(plan_.frames[0]));
    idle_frames_[0].push_back(frames_.back().get());
  }
  Frame& root = *idle_frames_[0].back();
  idle_frames_[0].pop_back();
  live_.push_back(&root);
  root.latest = 0;
  Iteration& all = begin(root, 0);
  for (size_t i = 0; i < root.plan->nodes.size(); ++i) {
    if (all.counts[i].pending > 0 || root.plan->nodes[i].role == Role::Merge) continue;
    ready.push_back({&all, &root.plan->nodes[i], root.plan->nodes[i].place, false});
    ++all.ops;
  }
  complete_ = root.plan->nodes.empty();
}

void FrameStates::finish(const Ready& done, int chosen, Slot& passing, std::vector<Ready>& ready, Dropped& dropped) {
  Step step{done, chosen, passing, ready, dropped};
  Iteration& here = *done.iteration;
  ++here.finished;
  switch (done.node->role) {
    case Role::Enter: enter(step); break;
    case Role::Exit: exit(step); break;
    case Role::NextIteration: next(step); break;
    default: deliver(*done.node, here, done.dead, chosen, ready);
  }
  if (!empty(passing)) dropped.take(passing);  // nobody reads it
  if (--here.ops == 0) settle(here.frame, &here, step);
}

// ---- the three ways between iterations

void FrameStates::enter(Step& step) {
  const FlowNode& node = *step.done.node;
  Frame& frame = child_of(*step.done.iteration, node.target);
  --frame.enters_left;
  if (node.constant) {
    frame.invariants.emplace_back(&node, step.done.dead);
    Slot& kept = frame.invariant_tokens[static_cast<size_t>(node.ordinal)];
    if (!step.done.dead) pass(step.passing, kept, node.as_ref, true);
    for (Iteration* to : frame.iterations) {
      if (!to) continue;
      if (!step.done.dead) deliver_token(node, kept, *to, false);
      deliver(node, *to, step.done.dead, -1, step.ready);
    }
  } else {
    Iteration& to = *frame.at(0);
    if (!step.done.dead) deliver_token(node, step.passing, to, true);
    deliver(node, to, step.done.dead, -1, step.ready);
  }
  // the last to enter may find nothing left to do
  Iteration* first = frame.at(0);
  if (frame.enters_left == 0 && first && first->number == 0 && first->ops == 0) settle(&frame, first, step);
}

void FrameStates::exit(Step& step) {
  const FlowNode& node = *step.done.node;
  Frame& frame = *step.done.iteration->frame;
  char& exited = frame.exited[static_cast<size_t>(node.ordinal)];
  if (step.done.dead) {
    // held until the frame is done: a later iteration may let a live token out
    if (step.done.iteration->number == frame.latest && !exited) frame.dead_exits.push_back(&node);
    return;
  }
  check(!exited, "[", node.node->op, "] node '", node.node->name, "' lets a value out of loop '", frame.plan->name,
        "' in more than one iteration. Fix: let it read a Switch on the loop's condition");
  exited = 1;
  deliver_token(node, step.passing, *frame.parent, true);
  deliver(node, *frame.parent, false, -1, step.ready);
}

void FrameStates::next(Step& step) {
  if (step.done.dead || step.done.node->unread) return;  // death ends here
  const FlowNode& node = *step.done.node;
  Frame& frame = *step.done.iteration->frame;
  const int64_t number = step.done.iteration->number;
  if (number == frame.latest) {
    if (frame.running == frame.plan->parallel_iterations) {
      frame.held.push_back(&node);
      pass(step.passing, frame.held_tokens[static_cast<size_t>(node.ordinal)], node.as_ref, true);
      return;
    }
    begin_next(frame, step.ready);
  }
  Iteration& to = *frame.at(number + 1);
  deliver_token(node, step.passing, to, true);
  deliver(node, to, false, -1, step.ready);
}

// Begins the next iteration, with the tokens that were held for it and those that go to every iteration.
void FrameStates::begin_next(Frame& frame, std::vector<Ready>& ready) {
  frame.dead_exits.clear();
  Iteration& to = begin(frame, ++frame.latest);
  for (const FlowNode* node : frame.held) {
    deliver_token(*node, frame.held_tokens[static_cast<size_t>(node->ordinal)], to, true);
    deliver(*node, to, false, -1, ready);
  }
  frame.held.clear();
  for (const auto& [node, dead] : frame.invariants) {
    if (!dead) deliver_token(*node, frame.invariant_tokens[static_cast<size_t>(node->ordinal)], to, false);
    deliver(*node, to, dead, -1, ready);
  }
}

// ---- tokens

void FrameStates::deliver_token(const FlowNode& writer, Slot& token, Iteration& to, bool last) {
  if (writer.unread) return;
  pass(token, to.slots[static_cast<size_t>(writer.first_output)], writer.as_ref, last);
  if (last) clear(token);  // destroys nothing: the token has moved
}

namespace {

// Whether the Merge is to run now. `dead`: whether it then is dead. Further tokens are ignored.
bool arrive(const FlowEdge& edge, const FlowNode& merge, bool from_enter, Count& count, int& live, bool& dead) {
  if (count.pending < 0) return false;
  if (edge.input < 0)
    --count.pending;
  else if (dead)
    count.dead += from_enter ? merge.num_inputs : 1;  // after a dead Enter no other token can come
  else if (live < 0)
    live = edge.input;
  if (count.pending > 0 || (live < 0 && count.dead < merge.num_inputs)) return false;
  count.pending = -1;
  dead = live < 0;
  return true;
}

}  // namespace

void FrameStates::deliver(const FlowNode& writer, Iteration& to, bool dead, int chosen, std::vector<Ready>& ready) {
  const FlowNode* const nodes = to.frame->plan->nodes.data();
  for (const FlowEdge* edge = writer.first_edge; edge != writer.end_edge; ++edge) {
    Count& count = to.counts[static_cast<size_t>(edge->node)];
    const FlowNode& reader = nodes[edge->node];
    bool reader_dead = dead || (chosen >= 0 && edge->input >= 0 && edge->output != chosen);
    if (edge->merge) {
      int& live = to.live[static_cast<size_t>(reader.ordinal)];
      if (!arrive(*edge, reader, writer.role == Role::Enter, count, live, reader_dead)) continue;
    } else {
      if (reader_dead && edge->input != FlowEdge::kOrder) ++count.dead;
      if (--count.pending != 0) continue;
      reader_dead = count.dead > 0 && !reader.trigger;
    }
    ready.push_back({&to, &reader, reader.place, reader_dead});
    ++to.ops;
  }
}

// ---- where iterations and frames begin and end

Iteration& FrameStates::begin(Frame& frame, int64_t number) {
  const FlowFrame& plan = *frame.plan;
  std::vector<Iteration*>& idle = idle_iterations_[static_cast<size_t>(&plan - plan_.frames.data())];
  if (idle.empty()) {
    iterations_.push_back(std::make_unique<Iteration>(plan));
    idle.push_back(iterations_.back().get());
  }
  Iteration& it = *idle.back();
  idle.pop_back();
  it.frame = &frame;
  it.number = number;
  it.finished = 0;
  it.counts = plan.counts;
  for (size_t k = 0; k < plan.readers.size(); ++k) it.readers[k].store(plan.readers[k], std::memory_order_relaxed);
  std::fill(it.live.begin(), it.live.end(), -1);
  frame.at(number) = &it;
  ++frame.running;
  return it;
}

void FrameStates::end(Iteration& it, Dropped& dropped) {
  const FlowFrame& plan = *it.frame->plan;
  const auto sweep = [&](int value) {
    Slot& slot = it.slots[static_cast<size_t>(value)];
    if (!empty(slot)) dropped.take(slot);
  };
  for (int value : plan.merge_inputs) sweep(value);
  if (it.finished < static_cast<int64_t>(plan.nodes.size()))  // some node has never had all of its inputs
    for (size_t v = 0; v < plan.values.size(); ++v) sweep(static_cast<int>(v));
  it.frame->at(it.number) = nullptr;
  --it.frame->running;
  idle_iterations_[static_cast<size_t>(&plan - plan_.frames.data())].push_back(&it);
}

Frame& FrameStates::child_of(Iteration& parent, int number) {
  const size_t f = static_cast<size_t>(number);
  const FlowFrame& plan = plan_.frames[f];
  Frame*& child = parent.children[static_cast<size_t>(plan.child)];
  if (child) return *child;
  if (idle_frames_[f].empty()) {
    frames_.push_back(std::make_unique<Frame>(plan));
    idle_frames_[f].push_back(frames_.back().get());
  }
  child = idle_frames_[f].back();
  idle_frames_[f].pop_back();
  live_.push_back(child);
  child->parent = &parent;
  child->latest = 0;
  child->enters_left = plan.enters;
  child->exited.assign(static_cast<size_t>(plan.exits), 0);
  ++parent.frames;
  begin(*child, 0);
  return *child;
}

// Ends `iteration` if nothing is left of it, then what waited for its end: the next iteration, the frame, the iteration
// around that.
void FrameStates::settle(Frame* frame, Iteration* it, Step& step) {
  while (it) {
    const int64_t number = it->number;
    const bool first = number == 0 ? frame->enters_left == 0 : frame->at(number - 1) == nullptr;
    if (it->ops > 0 || it->frames > 0 || !first) return;
    if (!frame->parent) complete_ = it->finished == static_cast<int64_t>(frame->plan->nodes.size());
    end(*it, step.dropped);
    if (!frame->held.empty()) begin_next(*frame, step.ready);
    if (number < frame->latest)
      it = frame->at(number + 1);
    else if ((it = close(*frame, step)))
      frame = it->frame;
  }
}

// The frame is done: its dead Exits let death out. Returns the iteration around it.
Iteration* FrameStates::close(Frame& frame, Step& step) {
  Iteration* around = frame.parent;
  for (const FlowNode* node : frame.dead_exits)
    if (!frame.exited[static_cast<size_t>(node->ordinal)]) deliver(*node, *around, true, -1, step.ready);
  frame.dead_exits.clear();
  for (const auto& entry : frame.invariants)
    step.dropped.take(frame.invariant_tokens[static_cast<size_t>(entry.first->ordinal)]);
  frame.invariants.clear();
  live_.erase(std::find(live_.begin(), live_.end(), &frame));
  idle_frames_[static_cast<size_t>(frame.plan - plan_.frames.data())].push_back(&frame);
  if (!around) return nullptr;
  around->children[static_cast<size_t>(frame.plan->child)] = nullptr;
  --around->frames;
  return around;
}

std::vector<const Node*> FrameStates::unfinished(size_t most) const {
  std::vector<const Node*> nodes;
  for (const Frame* frame : live_) {
    for (const Iteration* it : frame->iterations) {
      if (!it) continue;
      for (size_t i = 0; i < it->counts.size() && nodes.size() < most; ++i) {
        const FlowNode& node = frame->plan->nodes[i];
        if (it->counts[i].pending > (node.role == Role::Merge ? -1 : 0)) nodes.push_back(node.node);
      }
    }
  }
  return nodes;
}

}  // namespace rf
