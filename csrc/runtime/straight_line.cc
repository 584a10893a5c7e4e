#include "runtime/straight_line.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>

#include "base/denormals.h"
#include "runtime/token.h"

namespace rf {
StraightLine::StraightLine(GraphDef graph, std::shared_ptr<Resources> resources)
    : resources_(std::move(resources)), plan_(make_plan(std::move(graph), *resources_)), arena_(plan_.arena_bytes),
      slots_(plan_.values.size()), results_(plan_.signature.result_dtypes.size()) {
  make_slots();
  make_steps();
}

void StraightLine::make_slots() {
  for (const PlanNode& p : plan_.nodes) {
    for (int k = 0; k < p.num_outputs; ++k) {
      const size_t v = static_cast<size_t>(p.first_output + k);
      const Value& value = plan_.values[v];
      const Storage& storage = storage_of(p.first_output + k);
      Slot& slot = slots_[v];
      slot.dtype = value.dtype;
      if (!value.owner) {
        if (storage.place == Place::Variable) variable_reads_.push_back(&slot);
        continue;
      }
      if (storage.place == Place::Constant) slot.own = p.node.attr<Tensor>("value");
      if (storage.place != Place::Arena && storage.place != Place::Pinned) continue;
      char* const begin = storage.place == Place::Arena ? arena_.data() + storage.offset : static_cast<char*>(storage.address);
      slot.planned = begin + value.offset;
      slot.planned_bytes = static_cast<size_t>(value.bytes);
      const bool joined = storage.joined && value.bytes < static_cast<int64_t>(storage.bytes);
      if ((k == 0 && p.in_place >= 0) || joined) shared_.emplace_back(&slot, slot.planned);
    }
  }
  for (const Argument& a : plan_.signature.arguments) {
    Feed feed;
    if (!a.name.empty()) {
      feed.slot = &slots_[static_cast<size_t>(a.value)];
      feed.planned = a.shape.fully_known() && a.shape.dims.size() <= Shape::kMaxRank;
      if (feed.planned) feed.shape = a.shape.shape();
    }
    feeds_.push_back(feed);
  }
}

void StraightLine::make_steps() {
  // memory that a run allocates goes back after its last reader, not at the end
  std::vector<std::vector<Slot*>> released(plan_.nodes.size());
  for (size_t v = 0; v < plan_.values.size(); ++v) {
    const Storage& storage = storage_of(static_cast<int>(v));
    if (storage.place != Place::Fresh) continue;
    released[static_cast<size_t>(storage.last)].push_back(&slots_[v]);
    fresh_.push_back(&slots_[v]);
  }
  for (size_t i = 0; i < plan_.nodes.size(); ++i) {
    const PlanNode& p = plan_.nodes[i];
    if (p.kernel)
      add_step(p, gated(p, first_value(p, make_kernel(p.node, *p.kernel))));
    else if (p.node.op == "_Gate")
      add_step(p, gate(p));
    else if (p.node.op == "_Retval")
      add_step(p, fetch(p, static_cast<int>(i)));
    if (!released[i].empty()) {
      Kernel release = [slots = std::move(released[i])](Context&) {
        for (Slot* slot : slots) clear(*slot);
      };
      steps_.push_back({std::move(release), &p.node, nullptr, nullptr, 0, 0});
    }
  }
}

void StraightLine::add_step(const PlanNode& p, Kernel kernel) {
  auto inputs = std::make_unique<Slot*[]>(p.inputs.size());
  for (size_t i = 0; i < p.inputs.size(); ++i) inputs[i] = &slots_[static_cast<size_t>(p.inputs[i])];
  steps_.push_back({std::move(kernel), &p.node, inputs.get(), slots_.data() + p.first_output,
                    static_cast<int>(p.inputs.size()), p.num_outputs});
  input_lists_.push_back(std::move(inputs));
}

Kernel StraightLine::gate(const PlanNode& p) {
  check(p.inputs.size() == 1 && plan_.values[static_cast<size_t>(p.inputs[0])].dtype == DType::Bool,
        "[_Gate] takes one bool: node '", p.node.name, "'");
  gates_.push_back(std::make_unique<bool>(true));
  gate_of_[p.node.name] = gates_.back().get();
  return [open = gates_.back().get()](Context& c) {
    const Tensor& t = c.input(0);
    check(t.num_elements() == 1, "[_Gate] 'proceed' must be a scalar, got shape ", t.shape());
    *open = *t.data<bool>();
  };
}

// `kernel`, run only while the gates on the node's control inputs are open. A skipped update passes its variable on.
Kernel StraightLine::gated(const PlanNode& p, Kernel kernel) {
  std::vector<const bool*> open;
  for (const std::string& input : p.node.inputs)
    if (input[0] == '^' && gate_of_.count(input.substr(1))) open.push_back(gate_of_[input.substr(1)]);
  if (open.empty()) return kernel;
  for (int k = 0; k < p.num_outputs; ++k) {
    const bool ref = storage_of(p.first_output + k).place == Place::Variable && k == 0;
    if (!ref)
      throw Error(Code::InvalidArgument,
                  text("[_Gate] only updates of variables and ops without outputs can be held back: node '",
                       p.node.name, "' (", p.node.op, ") has other outputs"),
                  p.node.name);
  }
  return [kernel = std::move(kernel), open = std::move(open)](Context& c) {
    bool all = true;
    for (const bool* one : open) all = all && *one;
    if (all)
      kernel(c);
    else if (c.num_outputs() > 0)
      c.set_ref_output(0, c.variable(0));
  };
}

// A copy, taken here so that a fetched variable is the value before a later update. Memory that this run allocated
// and that nobody else holds is handed over instead.
Kernel StraightLine::fetch(const PlanNode& p, int position) {
  Tensor* result = &results_[static_cast<size_t>(p.node.attr<int64_t>("index"))];
  const Storage& storage = storage_of(p.inputs[0]);
  if (storage.place != Place::Fresh || storage.last != position)
    return [result](Context& c) { *result = copy_of(c.input(0)); };
  Slot* slot = &slots_[static_cast<size_t>(p.inputs[0])];
  return [result, slot](Context& c) {
    const Tensor& t = c.input(0);
    if (&t == &slot->own && t.buffer() && t.buffer()->unique())
      *result = std::move(slot->own);
    else
      *result = copy_of(t);
  };
}

// An Assign that hands the memory of its value over while the variable has none; `kernel` from then on.
Kernel StraightLine::first_value(const PlanNode& p, Kernel kernel) {
  if (!p.first_value) return kernel;
  Slot* slot = &slots_[static_cast<size_t>(p.inputs[1])];
  return [kernel = std::move(kernel), slot](Context& c) {
    Variable& v = c.variable(0);
    const bool ours = slot->tensor == &slot->own && slot->own.buffer() && slot->own.buffer()->unique();
    if (v.value.initialized() || !ours) return kernel(c);
    v.value = std::move(slot->own);
    c.set_ref_output(0, v);
  };
}

// Points the slots of the _Arg nodes at the feeds; whether all have the shapes of the plan.
bool StraightLine::bind_feeds(const std::vector<Tensor>& feeds) {
  plan_.signature.check_feeds(feeds);
  bool as_planned = true;
  for (size_t i = 0; i < feeds_.size(); ++i) {
    const Feed& f = feeds_[i];
    if (!f.slot) continue;
    const Tensor& t = feeds[i];
    as_planned = as_planned && (!f.planned || t.shape() == f.shape);
    f.slot->own.bind(t.dtype(), t.shape(), const_cast<void*>(t.raw()));  // kernels only read inputs
  }
  return as_planned;
}

void StraightLine::plan_shared(bool on) {
  for (const auto& [slot, memory] : shared_) slot->planned = on ? memory : nullptr;
}

void StraightLine::release() {
  if (run_state_.resources.used()) run_state_.resources.reset("");
  for (Slot* slot : variable_reads_) slot->own = Tensor();
  if (plan_.initialises) arena_.discard();
}

template <class Loop>
std::vector<Tensor> StraightLine::run_with(const std::vector<Tensor>& feeds, const RunOptions& options, Loop loop) {
  std::lock_guard<std::mutex> lock(mutex_);
  run_state_.rendezvous = options.rendezvous;
  FlushDenormals flush;
  // with other shapes an op planned in place may turn into a broadcast, which must not overwrite its input, and what is
  // planned inside of another output belongs elsewhere
  const bool as_planned = bind_feeds(feeds);
  if (!as_planned) plan_shared(false);
  const Step* at = steps_.data();
  const auto clean_up = [&] {
    if (!as_planned) plan_shared(true);
    release();
  };
  const auto failed = [&] {
    clean_up();
    for (Slot* slot : fresh_) clear(*slot);
    for (Tensor& t : results_) t = Tensor();
  };
  try {
    loop(at, steps_.data() + steps_.size());
  } catch (...) {
    failed();
    throw error_of(std::current_exception(), *at->node);
  }
  clean_up();
  std::vector<Tensor> results;
  results.reserve(results_.size());
  for (Tensor& t : results_) results.push_back(std::move(t));
  return results;
}

namespace {

// What ends a run from outside, asked between steps. A kernel that has begun is not cut short.
class Limits {
 public:
  explicit Limits(const RunOptions& options)
      : options_(options), start_(options.timeout_ms > 0 ? Clock::now() : Clock::time_point()) {}
  void check(const Node& next) const {
    if (options_.cancellation && options_.cancellation->cancelled())
      fail(Code::Cancelled, "[run] the run was cancelled");
    if (options_.timeout_ms > 0 && Clock::now() - start_ > std::chrono::milliseconds(options_.timeout_ms))
      fail(Code::DeadlineExceeded, "[run] the run has not ended within ", options_.timeout_ms, " ms: '", next.name,
           "' would have been next. Fix: a longer timeout_in_ms");
  }

 private:
  using Clock = std::chrono::steady_clock;
  const RunOptions& options_;
  const Clock::time_point start_;
};

}  // namespace

std::vector<Tensor> StraightLine::run(const std::vector<Tensor>& feeds, const RunOptions& options) {
  const auto call = [this](const Step& step) {
    Context context(*step.node, step.inputs, step.num_inputs, step.outputs, step.num_outputs, *resources_, run_state_);
    step.kernel(context);
  };
  if (options.timeout_ms <= 0 && !options.cancellation)
    return run_with(feeds, options, [&](const Step*& at, const Step* end) {
      for (; at != end; ++at) call(*at);
    });
  const Limits limits(options);
  return run_with(feeds, options, [&](const Step*& at, const Step* end) {
    for (; at != end; ++at) {
      limits.check(*at->node);
      call(*at);
    }
  });
}

std::vector<Tensor> StraightLine::run_timed(const std::vector<Tensor>& feeds, const RunOptions& options,
                                            std::vector<Call>& calls) {
  using Clock = std::chrono::steady_clock;
  calls.clear();
  calls.reserve(steps_.size());
  const Limits limits(options);
  const auto start = Clock::now();
  const auto now = [&] { return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count(); };
  return run_with(feeds, options, [&](const Step*& at, const Step* end) {
    for (; at != end; ++at) {
      limits.check(*at->node);
      const int64_t before = now();
      Context context(*at->node, at->inputs, at->num_inputs, at->outputs, at->num_outputs, *resources_, run_state_);
      at->kernel(context);
      const int64_t after = now();
      // releasing memory counts for the node after which it happens
      if (!calls.empty() && calls.back().node == at->node)
        calls.back().end_ns = after;
      else
        calls.push_back({at->node, before, after, 0, outputs_of(at->outputs, at->num_outputs)});
    }
  });
}

}  // namespace rf
