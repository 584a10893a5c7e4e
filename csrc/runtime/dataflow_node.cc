// What a node does when its tokens have come: kernels, and the ops that the schedule does itself.
#include "runtime/dataflow_run.h"

#include <utility>

namespace rf {

Context DataflowRun::context(const Ready& ready) {
  const FlowNode& node = *ready.node;
  const Iteration& it = *ready.iteration;
  Context c(*node.node, it.inputs_of(node), node.num_inputs, it.slots.get() + node.first_output, node.num_outputs,
            resources_, state_);
  if (__builtin_expect(node.transfer, 0)) {
    c.set_dead(ready.dead);
    c.set_iteration(it.name());
  }
  return c;
}

// Returns the output that lives, of a Switch; else -1.
int DataflowRun::run_node(Worker& worker, const Ready& ready) {
  const FlowNode& node = *ready.node;
  Slot* const output = ready.iteration->slots.get() + node.first_output;  // not of those that lead out of the iteration
  switch (node.role) {
    case Role::Kernel: run_kernel(ready); break;
    case Role::Constant: output->own = *node.value; break;
    case Role::Argument: {
      const Tensor& feed = (*feeds_)[static_cast<size_t>(node.ordinal)];
      output->own.bind(feed.dtype(), feed.shape(), const_cast<void*>(feed.raw()));  // kernels only read inputs
      break;
    }
    case Role::Result: fetch(ready); break;
    case Role::Gate: set_gate(ready); break;
    case Role::Forward: forward(ready, 0, *output); break;
    case Role::Switch: return run_switch(ready);
    case Role::Merge: run_merge(ready); break;
    case Role::Enter:
    case Role::Exit:
    case Role::NextIteration: forward(ready, 0, worker.passing); break;
    case Role::Nothing:
    case Role::Async: break;
  }
  return -1;
}

void DataflowRun::run_kernel(const Ready& ready) {
  const FlowNode& node = *ready.node;
  Context c = context(ready);
  if (__builtin_expect(!node.gates.empty(), 0) && !gates_open(node)) {
    if (node.num_outputs > 0) c.set_ref_output(0, c.variable(0));  // a skipped update passes its variable on
    return;
  }
  if (node.over) {
    const FlowFrame& frame = *ready.iteration->frame->plan;
    uint32_t free = 0;
    for (int k = 0; k < node.num_inputs && k < 32; ++k) {
      const int value = frame.inputs[static_cast<size_t>(node.first_input + k)];
      if (ready.iteration->last_reader(frame.values[static_cast<size_t>(value)])) free |= uint32_t{1} << k;
    }
    c.may_overwrite(free & node.over);
  }
  node.kernel(c);
}

bool DataflowRun::gates_open(const FlowNode& node) const {
  for (int gate : node.gates)
    if (!gates_[static_cast<size_t>(gate)]) return false;
  return true;
}

void DataflowRun::set_gate(const Ready& ready) {
  const Tensor& t = context(ready).input(0);
  check(t.num_elements() == 1, "[_Gate] 'proceed' must be a scalar, got shape ", t.shape());
  gates_[static_cast<size_t>(ready.node->ordinal)] = *t.data<bool>();
}

// Passes the token of an input on; moves it where nobody else reads it.
void DataflowRun::forward(const Ready& ready, int input, Slot& to) {
  const FlowNode& node = *ready.node;
  const FlowFrame& frame = *ready.iteration->frame->plan;
  const int value = frame.inputs[static_cast<size_t>(node.first_input + input)];
  if (!node.as_ref) context(ready).input(input);  // throws for a variable without a value
  pass(*ready.iteration->inputs_of(node)[input], to, node.as_ref,
       ready.iteration->last_reader(frame.values[static_cast<size_t>(value)]));
}

int DataflowRun::run_switch(const Ready& ready) {
  const FlowNode& node = *ready.node;
  const Tensor& pred = context(ready).input(1);
  check(pred.num_elements() == 1 && pred.dtype() == DType::Bool, "[", node.node->op,
        "] pred must be one bool: got ", name_of(pred.dtype()), " of shape ", pred.shape());
  const int chosen = *pred.data<bool>() ? 1 : 0;
  if (chosen >= node.num_outputs) return chosen;
  const int value = node.first_output + chosen;
  if (ready.iteration->frame->plan->values[static_cast<size_t>(value)].readers > 0)
    forward(ready, 0, ready.iteration->slots[static_cast<size_t>(value)]);
  return chosen;
}

void DataflowRun::run_merge(const Ready& ready) {
  const FlowNode& node = *ready.node;
  Slot* const outputs = ready.iteration->slots.get() + node.first_output;
  const int live = ready.iteration->live[static_cast<size_t>(node.ordinal)];
  if (node.num_outputs > 0) forward(ready, live, outputs[0]);
  if (node.num_outputs > 1) outputs[1].own = plan_.merge_indices[static_cast<size_t>(live)];
}

// A copy, unless this run allocated the memory and nobody else holds it.
void DataflowRun::fetch(const Ready& ready) {
  Slot& in = *ready.iteration->inputs_of(*ready.node)[0];
  const Tensor& t = context(ready).input(0);
  Tensor& result = results_[static_cast<size_t>(ready.node->ordinal)];
  const FlowFrame& frame = *ready.iteration->frame->plan;
  const int value = frame.inputs[static_cast<size_t>(ready.node->first_input)];
  if (&t == &in.own && t.buffer() && t.buffer()->unique() &&
      ready.iteration->last_reader(frame.values[static_cast<size_t>(value)]))
    result = std::move(in.own);
  else
    result = copy_of(t);
}

// Gives up the tokens that the node has read and those that nobody will read. A Merge has read one input only; what
// else comes to it is swept away with the iteration.
void DataflowRun::release(const Ready& ready) {
  const FlowNode& node = *ready.node;
  Iteration& it = *ready.iteration;
  const FlowFrame& frame = *it.frame->plan;
  int first = 0, end = node.num_inputs;
  if (node.role == Role::Merge) {
    first = ready.dead ? end : it.live[static_cast<size_t>(node.ordinal)];
    end = ready.dead ? end : first + 1;
  }
  for (int k = first; k < end; ++k) {
    const int v = frame.inputs[static_cast<size_t>(node.first_input + k)];
    const FlowValue& value = frame.values[static_cast<size_t>(v)];
    if (value.counter >= 0 &&
        it.readers[static_cast<size_t>(value.counter)].fetch_sub(1, std::memory_order_acq_rel) > 1)
      continue;
    clear(it.slots[static_cast<size_t>(v)]);
  }
  if (!node.unread || ready.dead || node.role == Role::Enter || node.role == Role::Exit) return;
  for (int k = 0; k < node.num_outputs; ++k) {
    const size_t v = static_cast<size_t>(node.first_output + k);
    if (frame.values[v].readers == 0) clear(it.slots[v]);
  }
}

int64_t DataflowRun::now_ns() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start_).count();
}

}  // namespace rf
