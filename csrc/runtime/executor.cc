#include "runtime/executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <new>

#include "kernels/movers.h"
#include "runtime/denormals.h"

namespace rf {
namespace {

void clear(Slot& slot) {
  slot.own = Tensor();
  slot.resource.reset();
}

}  // namespace

Executable::Executable(const void* graph_def, size_t bytes, std::shared_ptr<Resources> resources)
    : Executable(parse_graph(graph_def, bytes), std::move(resources)) {}

Executable::Executable(GraphDef graph, std::shared_ptr<Resources> resources)
    : resources_(std::move(resources)), plan_(make_plan(std::move(graph), *resources_)), arena_(plan_.arena_bytes),
      slots_(plan_.values.size()), results_(plan_.result_dtypes.size()) {
  make_slots();
  make_steps();
}

void Executable::make_slots() {
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
      slot.planned = storage.place == Place::Arena ? arena_.data() + storage.offset : storage.address;
      slot.planned_bytes = static_cast<size_t>(value.bytes);
      if (k == 0 && p.in_place >= 0) in_place_.emplace_back(&slot, slot.planned);
    }
  }
  for (const Argument& a : plan_.arguments) {
    Feed feed;
    if (!a.name.empty()) {
      feed.slot = &slots_[static_cast<size_t>(a.value)];
      feed.dtype = a.dtype;
      feed.planned = a.shape.fully_known() && a.shape.dims.size() <= Shape::kMaxRank;
      if (feed.planned) feed.shape = a.shape.shape();
    }
    feeds_.push_back(feed);
  }
}

void Executable::make_steps() {
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
      add_step(p, gated(p, make_kernel(p)));
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

void Executable::add_step(const PlanNode& p, Kernel kernel) {
  auto inputs = std::make_unique<Slot*[]>(p.inputs.size());
  for (size_t i = 0; i < p.inputs.size(); ++i) inputs[i] = &slots_[static_cast<size_t>(p.inputs[i])];
  steps_.push_back({std::move(kernel), &p.node, inputs.get(), slots_.data() + p.first_output,
                    static_cast<int>(p.inputs.size()), p.num_outputs});
  input_lists_.push_back(std::move(inputs));
}

// An asynchronous kernel on a straight line: nothing else could run meanwhile.
Kernel Executable::waiting(AsyncKernel kernel) {
  return [kernel = std::move(kernel)](Context& c) {
    std::promise<void> done;
    kernel(c, [&done](std::exception_ptr error) {
      if (error)
        done.set_exception(error);
      else
        done.set_value();
    });
    done.get_future().get();
  };
}

Kernel Executable::make_kernel(const PlanNode& p) {
  try {
    if (p.kernel->make_async) return waiting(p.kernel->make_async(p.node));
    return check_moved(p.node, p.kernel->make(p.node));
  } catch (Error& e) {
    if (e.node.empty()) e.node = p.node.name;
    throw;
  }
}

Kernel Executable::gate(const PlanNode& p) {
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
Kernel Executable::gated(const PlanNode& p, Kernel kernel) {
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
Kernel Executable::fetch(const PlanNode& p, int position) {
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

// Points the slots of the _Arg nodes at the feeds; whether all have the shapes of the plan.
bool Executable::bind_feeds(const std::vector<Tensor>& feeds) {
  check(feeds.size() >= feeds_.size(), "[run] the graph takes ", feeds_.size(), " feeds: received ", feeds.size());
  bool as_planned = true;
  for (size_t i = 0; i < feeds_.size(); ++i) {
    const Feed& f = feeds_[i];
    if (!f.slot) continue;
    const Tensor& t = feeds[i];
    check(t.dtype() == f.dtype, "[run] feed ", i, " ('", plan_.arguments[i].name, "') must be ", name_of(f.dtype),
          ": received ", name_of(t.dtype()));
    as_planned = as_planned && (!f.planned || t.shape() == f.shape);
    f.slot->own.bind(t.dtype(), t.shape(), const_cast<void*>(t.raw()));  // kernels only read inputs
  }
  return as_planned;
}

void Executable::plan_in_place(bool on) {
  for (const auto& [slot, memory] : in_place_) slot->planned = on ? memory : nullptr;
}

void Executable::release() {
  run_state_.resources.reset("");
  for (Slot* slot : variable_reads_) slot->own = Tensor();
}

template <class Loop>
std::vector<Tensor> Executable::run_with(const std::vector<Tensor>& feeds, Loop loop) {
  std::lock_guard<std::mutex> lock(mutex_);
  FlushDenormals flush;
  // with other shapes an op planned in place may turn into a broadcast, which must not overwrite its input
  const bool as_planned = bind_feeds(feeds);
  if (!as_planned) plan_in_place(false);
  const Step* at = steps_.data();
  const auto clean_up = [&] {
    if (!as_planned) plan_in_place(true);
    release();
  };
  const auto failed = [&] {
    clean_up();
    for (Slot* slot : fresh_) clear(*slot);
    for (Tensor& t : results_) t = Tensor();
  };
  try {
    loop(at, steps_.data() + steps_.size());
  } catch (Error& e) {
    failed();
    if (e.node.empty()) e.node = at->node->name;
    throw;
  } catch (const std::bad_alloc&) {
    failed();
    throw Error(Code::Internal, text("[", at->node->op, "] out of memory"), at->node->name);
  } catch (const std::exception& e) {
    failed();
    throw Error(Code::Internal, text("[", at->node->op, "] ", e.what()), at->node->name);
  }
  clean_up();
  std::vector<Tensor> results;
  results.reserve(results_.size());
  for (Tensor& t : results_) results.push_back(std::move(t));
  return results;
}

std::vector<Tensor> Executable::run(const std::vector<Tensor>& feeds) {
  return run_with(feeds, [this](const Step*& at, const Step* end) {
    for (; at != end; ++at) {
      Context context(*at->node, at->inputs, at->num_inputs, at->outputs, at->num_outputs, *resources_,
                      run_state_);
      at->kernel(context);
    }
  });
}

std::vector<Tensor> Executable::run_timed(const std::vector<Tensor>& feeds,
                                          std::vector<std::pair<std::string, double>>& times) {
  using Clock = std::chrono::steady_clock;
  times.clear();
  times.reserve(steps_.size());
  return run_with(feeds, [&](const Step*& at, const Step* end) {
    auto before = Clock::now();
    for (; at != end; ++at) {
      Context context(*at->node, at->inputs, at->num_inputs, at->outputs, at->num_outputs, *resources_,
                      run_state_);
      at->kernel(context);
      const auto now = Clock::now();
      const double us = std::chrono::duration<double, std::micro>(now - before).count();
      // releasing memory counts for the node after which it happens
      if (!times.empty() && times.back().first == at->node->name)
        times.back().second += us;
      else
        times.emplace_back(at->node->name, us);
      before = Clock::now();
    }
  });
}

}  // namespace rf
