// Graphs with control flow for the tests of the executor, and the kernels that they use. All tensors are float scalars.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/executor.h"
#include "tests/graph_writer.h"

namespace rf::test {

using Floats = std::vector<float>;

// ---- kernels

inline std::atomic<int> counted{0}, alive{0}, most_alive{0};
inline std::vector<const void*> addresses;

// Completes calls from a thread of its own, in order; waits a little, so that more may come.
class Defer {
 public:
  Defer() : thread_([this] { serve(); }) {}
  ~Defer() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void add(std::function<void()> call) {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(std::move(call));
    most_ = std::max(most_, static_cast<int>(calls_.size()));
    changed_.notify_all();
  }
  void reset(int patience) {
    std::lock_guard<std::mutex> lock(mutex_);
    most_ = 0;
    patience_ = patience;
  }
  int most() {
    std::lock_guard<std::mutex> lock(mutex_);
    return most_;
  }

 private:
  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stop_ || !calls_.empty(); });
      if (stop_) return;
      for (int i = 0; i < patience_; ++i) {
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        lock.lock();
      }
      const auto call = std::move(calls_.front());
      calls_.erase(calls_.begin());
      lock.unlock();
      call();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> calls_;
  int most_ = 0, patience_ = 0;
  bool stop_ = false;
  std::thread thread_;
};
inline Defer defer;

namespace kernels {

template <class F>
Kernel binary(F f) {
  return [f](Context& c) {
    const float a = c.input(0).scalar<float>(), b = c.input(1).scalar<float>();
    *c.output(0, Shape()).data<float>() = f(a, b);
  };
}
inline Kernel add(const Node&) { return binary([](float a, float b) { return a + b; }); }
inline Kernel mul(const Node&) { return binary([](float a, float b) { return a * b; }); }
inline Kernel count(const Node&) { return binary([](float a, float b) { return ++counted, a + b; }); }
inline Kernel less(const Node&) {
  return [](Context& c) { *c.output(0, Shape()).data<bool>() = c.input(0).scalar<float>() < c.input(1).scalar<float>(); };
}
inline Kernel add_one(const Node&) {
  return [](Context& c) {
    const float x = c.input(0).scalar<float>();
    *c.output(0, Shape()).data<float>() = x + 1;
  };
}
inline Kernel identity(const Node&) {
  return [](Context& c) { c.set_output(0, c.input(0)); };
}
inline Kernel fail_at_3(const Node&) {
  return [](Context& c) {
    const float x = c.input(0).scalar<float>() + 1;
    if (c.input(1).scalar<float>() == 3 && x > 3) fail(Code::OutOfRange, "[TestFailAt3] three");
    *c.output(0, Shape()).data<float>() = x;
  };
}
inline Kernel address(const Node&) {
  return [](Context& c) {
    const float x = c.input(0).scalar<float>();
    Tensor& y = c.output(0, Shape());
    *y.data<float>() = x;
    addresses.push_back(y.raw());
  };
}
inline Kernel variable(const Node& node) {
  return [name = node.name](Context& c) { c.set_ref_output(0, *c.resources().find_or_create<Variable>("", name)); };
}
inline Kernel assign_add(const Node&) {
  return [](Context& c) {
    *c.mutable_input(0).data<float>() += c.input(1).scalar<float>();
    c.set_ref_output(0, c.variable(0));
  };
}
struct Counted : Resource {
  Counted() {
    most_alive = std::max(most_alive.load(), ++alive);
  }
  ~Counted() override { --alive; }
};
inline Kernel make_handle(const Node&) {
  return [](Context& c) { c.set_resource_output(0, std::make_shared<Counted>()); };
}
inline Kernel use_handle(const Node&) {
  return [](Context& c) {
    c.resource<Counted>(0);
    const float x = c.input(1).scalar<float>();
    *c.output(0, Shape()).data<float>() = x + 1;
  };
}
inline AsyncKernel async_add(const Node&) {
  return [](Context& c, Done done) {
    defer.add([&c, done = std::move(done)] {
      try {
        const float sum = c.input(0).scalar<float>() + c.input(1).scalar<float>();
        *c.output(0, Shape()).data<float>() = sum;
        done(nullptr);
      } catch (...) {
        done(std::current_exception());
      }
    });
  };
}
// Waits for nobody: ends when the run is cancelled.
inline AsyncKernel never(const Node&) {
  return [](Context& c, Done done) {
    const auto stop = [done] { done(std::make_exception_ptr(Error(Code::Cancelled, "[TestNever] cancelled"))); };
    if (c.run().cancellation.on_cancel(stop) == 0) stop();
  };
}
// 1 where two calls of it have been under way at once, 0 after a second alone.
struct Meeting {
  std::mutex mutex;
  std::condition_variable came;
  int here = 0;
};
inline Meeting meeting;
inline Kernel meet(const Node&) {
  return [](Context& c) {
    std::unique_lock<std::mutex> lock(meeting.mutex);
    const int before = meeting.here++;
    meeting.came.notify_all();
    const bool met = before % 2 == 1 || meeting.came.wait_for(lock, std::chrono::seconds(60), [&] { return meeting.here > before + 1; });
    *c.output(0, Shape()).data<float>() = met ? 1 : 0;
  };
}
// Costly: takes 30 us.
inline Kernel slow_add(const Node&) {
  return [](Context& c) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(30);
    while (std::chrono::steady_clock::now() < end) {}
    const float sum = c.input(0).scalar<float>() + c.input(1).scalar<float>();
    *c.output(0, Shape()).data<float>() = sum;
  };
}
RF_KERNEL_ANY("TestMeet", None, meet)
RF_KERNEL_ANY("TestSlowAdd", InPlace, slow_add)
RF_KERNEL_ANY("TestAdd", InPlace, add)
RF_KERNEL_ANY("TestMul", InPlace, mul)
RF_KERNEL_ANY("TestCount", None, count)
RF_KERNEL_ANY("TestLess", None, less)
RF_KERNEL_ANY("TestAddOne", InPlace, add_one)
RF_KERNEL_ANY("TestIdentity", Alias, identity)
RF_KERNEL_ANY("TestFailAt3", None, fail_at_3)
RF_KERNEL_ANY("TestAddress", InPlace, address)
RF_KERNEL_ANY("VariableV2Test", None, variable)
RF_KERNEL_ANY("AssignAddTest", None, assign_add)
RF_KERNEL_ANY("TestMakeHandle", None, make_handle)
RF_KERNEL_ANY("TestUseHandle", None, use_handle)
RF_KERNEL_ASYNC("TestAsyncAdd", async_add)
RF_KERNEL_ASYNC("TestNever", never)

}  // namespace kernels

// ---- what goes in and comes out

inline Tensor scalar(float value) {
  Tensor t(DType::Float, Shape());
  *t.data<float>() = value;
  return t;
}
inline Tensor truth(bool value) {
  Tensor t(DType::Bool, Shape());
  *t.data<bool>() = value;
  return t;
}
inline Floats values(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.num_elements()}; }

inline std::unique_ptr<Executable> build(const Bytes& b, std::shared_ptr<Resources> resources = std::make_shared<Resources>(),
                                         std::shared_ptr<InterOpPool> pool = nullptr) {
  return std::make_unique<Executable>(b.data(), b.size(), std::move(resources), std::move(pool));
}

// ---- graphs

using Names = std::vector<std::string>;

inline const Bytes kRef = outputs({101}, {{}});

// A node with one float scalar as its output; TestLess gives a bool.
inline Bytes op(const std::string& name, const std::string& type, const Names& inputs) {
  return node(name, type, inputs, outputs({type == "TestLess" ? 10 : type == "TestMakeHandle" ? 20 : 1}, {{}}));
}
// A node of control flow: its outputs follow from its inputs.
inline Bytes flow(const std::string& name, const std::string& type, const Names& inputs) { return node(name, type, inputs); }
inline Bytes enter(const std::string& name, const std::string& input, const std::string& frame, int parallel = 10,
                   bool constant = false, const std::string& type = "Enter") {
  return node(name, type, {input},
              attr("frame_name", bytes(2, frame)) + int_attr("parallel_iterations", parallel) +
                  attr("is_constant", number(5, constant)));
}

// p ? x + x : x * x, the sum by `then`
inline Bytes cond(const std::string& then = "TestAdd") {
  return argument("x", 0, {}) + argument("p", 1, {}, 10) + flow("sw", "Switch", {"x", "p"}) +
         op("then", then, {"sw:1", "sw:1"}) + op("else", "TestMul", {"sw", "sw"}) + flow("m", "Merge", {"else", "then"}) +
         result("r", 0, "m");
}

// i = 0, y = 1; while i < n: i = body(i, 1 or k), y = y * k. Returns i and y.
inline Bytes loop(int parallel, const std::string& body = "TestAddOne") {
  const bool binary = body != "TestAddOne";
  const bool with_k = body == "TestFailAt3";
  return argument("n", 0, {}) + argument("k", 1, {}) + constant("zero", {}, {0}) + constant("unit", {}, {1}) +
         enter("ei", "zero", "f", parallel) + enter("ey", "unit", "f", parallel) +
         enter("en", "n", "f", parallel, true) + enter("ek", "k", "f", parallel, true) +
         enter("e1", "unit", "f", parallel, true) + flow("mi", "Merge", {"ei", "ni"}) + flow("my", "Merge", {"ey", "ny"}) +
         op("less", "TestLess", {"mi", "en"}) + flow("c", "LoopCond", {"less"}) + flow("si", "Switch", {"mi", "c"}) +
         flow("sy", "Switch", {"my", "c"}) +
         op("body", body, binary ? Names{"si:1", with_k ? "ek" : "e1"} : Names{"si:1"}) +
         op("times", "TestMul", {"sy:1", "ek"}) + flow("ni", "NextIteration", {"body"}) +
         flow("ny", "NextIteration", {"times"}) + flow("xi", "Exit", {"si"}) + flow("xy", "Exit", {"sy"}) +
         result("r0", 0, "xi") + result("r1", 1, "xy");
}

// for i < n: for j < n: total += 1
inline Bytes nested() {
  return argument("n", 0, {}) + constant("zero", {}, {0}) + enter("ei", "zero", "outer") + enter("et", "zero", "outer") +
         enter("en", "n", "outer", 10, true) + enter("ez", "zero", "outer", 10, true) + flow("mi", "Merge", {"ei", "ni"}) +
         flow("mt", "Merge", {"et", "nt"}) + op("less", "TestLess", {"mi", "en"}) + flow("c", "LoopCond", {"less"}) +
         flow("si", "Switch", {"mi", "c"}) + flow("st", "Switch", {"mt", "c"}) + op("i1", "TestAddOne", {"si:1"}) +
         flow("sz", "Switch", {"ez", "c"}) +  // so that the inner loop is dead with the outer one
         // the inner loop
         enter("ej", "sz:1", "inner") + enter("eu", "st:1", "inner") + enter("em", "en", "inner", 10, true) +
         flow("mj", "Merge", {"ej", "nj"}) + flow("mu", "Merge", {"eu", "nu"}) + op("less2", "TestLess", {"mj", "em"}) +
         flow("c2", "LoopCond", {"less2"}) + flow("sj", "Switch", {"mj", "c2"}) + flow("su", "Switch", {"mu", "c2"}) +
         op("j1", "TestAddOne", {"sj:1"}) + op("u1", "TestAddOne", {"su:1"}) + flow("nj", "NextIteration", {"j1"}) +
         flow("nu", "NextIteration", {"u1"}) + flow("xu", "Exit", {"su"}) +
         // and out
         flow("ni", "NextIteration", {"i1"}) + flow("nt", "NextIteration", {"xu"}) + flow("xt", "Exit", {"st"}) +
         result("r", 0, "xt");
}

// p ? (i = 0; while i < x: i += 1) : x + x
inline Bytes loop_in_cond() {
  return argument("x", 0, {}) + argument("p", 1, {}, 10) + constant("zero", {}, {0}) + flow("sx", "Switch", {"x", "p"}) +
         flow("sz", "Switch", {"zero", "p"}) + enter("ei", "sz:1", "f") + enter("en", "sx:1", "f", 10, true) +
         flow("mi", "Merge", {"ei", "ni"}) + op("less", "TestLess", {"mi", "en"}) + flow("c", "LoopCond", {"less"}) +
         flow("si", "Switch", {"mi", "c"}) + op("i1", "TestAddOne", {"si:1"}) + flow("ni", "NextIteration", {"i1"}) +
         flow("xi", "Exit", {"si"}) + op("else", "TestAdd", {"sx", "sx"}) + flow("m", "Merge", {"else", "xi"}) +
         result("r", 0, "m");
}

// while i < n: t += (i < 3 ? 1 : 10), i += 1. Returns i and t.
inline Bytes cond_in_loop() {
  return argument("n", 0, {}) + constant("zero", {}, {0}) + constant("three", {}, {3}) + constant("ten", {}, {10}) +
         enter("ei", "zero", "f") + enter("et", "zero", "f") + enter("en", "n", "f", 10, true) +
         enter("e3", "three", "f", 10, true) + enter("e10", "ten", "f", 10, true) + flow("mi", "Merge", {"ei", "ni"}) +
         flow("mt", "Merge", {"et", "nt"}) + op("less", "TestLess", {"mi", "en"}) + flow("c", "LoopCond", {"less"}) +
         flow("si", "Switch", {"mi", "c"}) + flow("st", "Switch", {"mt", "c"}) + op("small", "TestLess", {"si:1", "e3"}) +
         flow("branch", "Switch", {"st:1", "small"}) + flow("by", "Switch", {"e10", "small"}) +
         op("one", "TestAddOne", {"branch:1"}) + op("more", "TestAdd", {"branch", "by"}) +
         flow("t1", "Merge", {"more", "one"}) + op("i1", "TestAddOne", {"si:1"}) + flow("ni", "NextIteration", {"i1"}) +
         flow("nt", "NextIteration", {"t1"}) + flow("xi", "Exit", {"si"}) + flow("xt", "Exit", {"st"}) +
         result("r0", 0, "xi") + result("r1", 1, "xt");
}

// v is a reference that goes round with the loop: while i < n: v += 1, i += 1. Returns i.
inline Bytes variable_in_loop() {
  return argument("n", 0, {}) + constant("zero", {}, {0}) + constant("unit", {}, {1}) + node("v", "VariableV2Test", {}, kRef) +
         enter("ev", "v", "f", 10, false, "RefEnter") + enter("ei", "zero", "f") + enter("en", "n", "f", 10, true) +
         enter("e1", "unit", "f", 10, true) + flow("mv", "RefMerge", {"ev", "nv"}) + flow("mi", "Merge", {"ei", "ni"}) +
         op("less", "TestLess", {"mi", "en"}) + flow("c", "LoopCond", {"less"}) + flow("sv", "RefSwitch", {"mv", "c"}) +
         flow("si", "Switch", {"mi", "c"}) + node("up", "AssignAddTest", {"sv:1", "e1"}, kRef) +
         op("i1", "TestAddOne", {"si:1"}) + flow("nv", "RefNextIteration", {"up"}) + flow("ni", "NextIteration", {"i1"}) +
         flow("xv", "RefExit", {"sv"}) + flow("xi", "Exit", {"si"}) + node("end", "NoOp", {"^xv"}) + result("r", 0, "xi");
}

// A handle made anew in every iteration, and used. Returns i.
inline Bytes handle_in_loop() {
  return argument("n", 0, {}) + constant("zero", {}, {0}) + enter("ei", "zero", "f", 2) + enter("en", "n", "f", 2, true) +
         op("h0", "TestMakeHandle", {}) + enter("eh", "h0", "f", 2) + flow("mh", "Merge", {"eh", "nh"}) +
         flow("mi", "Merge", {"ei", "ni"}) + op("less", "TestLess", {"mi", "en"}) + flow("c", "LoopCond", {"less"}) +
         flow("si", "Switch", {"mi", "c"}) + flow("sh", "Switch", {"mh", "c"}) +
         node("same", "Identity", {"sh:1"}, type_attr("T", 20) + outputs({20}, {{}})) +
         op("i1", "TestUseHandle", {"same", "si:1"}) + op("h", "TestMakeHandle", {"^i1"}) +
         flow("ni", "NextIteration", {"i1"}) + flow("nh", "NextIteration", {"h"}) + flow("xi", "Exit", {"si"}) +
         result("r", 0, "xi");
}

}  // namespace rf::test
