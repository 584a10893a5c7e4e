// The data-flow schedule on graphs built by hand: branches, loops, frames in frames, and graphs that are wired wrongly.
#include "runtime/executor.h"

#include <atomic>
#include <map>

#include "tests/check.h"
#include "tests/flow_graphs.h"

using namespace rf;
using namespace rf::test;

namespace {

void a_conditional_takes_one_branch() {
  auto e = build(cond());
  CHECK(e->describe().find("by ready queue") != std::string::npos);
  for (int round = 0; round < 3; ++round) {
    CHECK(values(e->run({scalar(1), truth(true)})[0]) == Floats({2}));   // x + x
    CHECK(values(e->run({scalar(3), truth(false)})[0]) == Floats({9}));  // x * x
  }
}

void the_branch_not_taken_does_not_run() {
  auto e = build(cond("TestCount"));
  counted = 0;
  CHECK(values(e->run({scalar(3), truth(false)})[0]) == Floats({9}));
  CHECK(counted == 0);
  e->run({scalar(3), truth(true)});
  CHECK(counted == 1);
}

void a_merge_says_which_input_it_took() {
  auto e = build(cond() + result("index", 1, "m:1", 3));
  CHECK(*e->run({scalar(1), truth(false)})[1].data<int32_t>() == 0);
  CHECK(*e->run({scalar(1), truth(true)})[1].data<int32_t>() == 1);
}

void a_dead_fetch_is_refused_by_its_index() {
  auto e = build(cond() + result("dead", 1, "then"));
  CHECK(values(e->run({scalar(1), truth(true)})[1]) == Floats({2}));
  CHECK(fails(Code::InvalidArgument, "dead|[run] Retval[1] does not have value", [&] { e->run({scalar(1), truth(false)}); }));
  CHECK(values(e->run({scalar(1), truth(true)})[0]) == Floats({2}));
}

void a_control_edge_carries_the_deadness_of_its_op() {
  // after the Switch itself: alive on both sides; after a pivot on one output: alive on one side; after a trigger: alive
  auto e = build(argument("x", 0, {}) + argument("p", 1, {}, 10) + flow("sw", "Switch", {"x", "p"}) +
                 op("pivot", "TestIdentity", {"sw:1"}) + op("any", "TestAdd", {"x", "x", "^sw"}) +
                 op("one", "TestAdd", {"x", "x", "^pivot"}) + node("trigger", "ControlTrigger", {"^pivot"}) +
                 op("all", "TestAdd", {"x", "x", "^trigger"}) + result("a", 0, "any") + result("t", 1, "all") +
                 result("o", 2, "one"));
  CHECK(values(e->run({scalar(1), truth(true)})[2]) == Floats({2}));
  CHECK(fails(Code::InvalidArgument, "o|[run] Retval[2] does not have value", [&] { e->run({scalar(1), truth(false)}); }));
}

void a_merge_waits_for_its_control_inputs() {
  auto e = build(argument("x", 0, {}) + argument("p", 1, {}, 10) + flow("sw", "Switch", {"x", "p"}) +
                 op("count", "TestCount", {"x", "x"}) + flow("m", "Merge", {"sw", "sw:1", "^count"}) + result("r", 0, "m"));
  counted = 0;
  CHECK(values(e->run({scalar(4), truth(true)})[0]) == Floats({4}) && counted == 1);
}

void a_loop_runs_until_its_condition_is_false() {
  for (int parallel : {1, 2, 10}) {
    auto e = build(loop(parallel));
    for (float n : {0.0f, 1.0f, 7.0f, 100.0f}) {
      const auto r = e->run({scalar(n), scalar(2)});  // i and the product 2^n: two variables
      CHECK(values(r[0]) == Floats({n}));
      CHECK(values(r[1]) == Floats({std::exp2(n)}));
    }
  }
}

void no_more_iterations_run_at_once_than_allowed() {
  for (int parallel : {1, 3}) {
    // the counter runs ahead of a body that takes its time: calls come back in the order they were made, late
    auto e = build(loop(parallel, "TestAsyncAdd"));
    defer.reset(8);
    CHECK(values(e->run({scalar(20), scalar(1)})[0]) == Floats({20}));
    CHECK(defer.most() >= 1 && defer.most() <= parallel);
  }
}

void loops_nest() {
  // for i < n: for j < n: total += 1
  auto e = build(nested());
  for (float n : {0.0f, 1.0f, 5.0f, 12.0f}) CHECK(values(e->run({scalar(n)})[0]) == Floats({n * n}));
}

void a_loop_on_a_branch_not_taken_is_dead() {
  auto e = build(loop_in_cond());
  for (int round = 0; round < 2; ++round) {
    CHECK(values(e->run({scalar(5), truth(true)})[0]) == Floats({5}));    // the loop counts to x
    CHECK(values(e->run({scalar(5), truth(false)})[0]) == Floats({10}));  // x + x
  }
}

void a_conditional_lies_in_a_loop() {
  auto e = build(cond_in_loop());
  CHECK(values(e->run({scalar(6)})[1]) == Floats({3 * 1 + 3 * 10}));  // +1 below 3, +10 from 3 on
}

void a_loop_updates_a_variable() {
  auto resources = std::make_shared<Resources>();
  resources->find_or_create<Variable>("", "v")->value = scalar(0);
  auto e = build(variable_in_loop(), resources);
  CHECK(values(e->run({scalar(4)})[0]) == Floats({4}));
  CHECK(values(e->run({scalar(3)})[0]) == Floats({3}));
  CHECK(values(resources->find_or_create<Variable>("", "v")->value) == Floats({7}));
  CHECK(resources->find_or_create<Variable>("", "v")->value.buffer()->unique());
}

void handles_travel_and_die_with_their_last_reader() {
  auto e = build(handle_in_loop());
  CHECK(values(e->run({scalar(50)})[0]) == Floats({50}));
  CHECK(alive == 0 && most_alive <= 3);
}

void an_error_in_a_loop_names_its_node() {
  auto e = build(loop(10, "TestFailAt3"));
  for (int round = 0; round < 3; ++round) {
    CHECK(fails(Code::OutOfRange, "body|[TestFailAt3] three", [&] { e->run({scalar(9), scalar(3)}); }));
    CHECK(values(e->run({scalar(2), scalar(0)})[0]) == Floats({2}));
  }
}

void every_call_is_timed() {
  auto e = build(loop(10));
  std::vector<Call> calls;
  e->run_timed({scalar(5), scalar(2)}, calls);
  std::map<std::string, int> count;
  for (const Call& c : calls) {
    ++count[c.node->name];
    CHECK(0 <= c.start_ns && c.start_ns <= c.end_ns && c.thread == 0);
  }
  CHECK(count["body"] == 5 && count["less"] == 6 && count["r0"] == 1);
}

void memory_is_reused_in_place_where_nobody_reads_it() {
  // the chain is written in place, c still reads a
  auto e = build(argument("x", 0, {}) + node("trigger", "ControlTrigger", {}) + op("a", "TestAdd", {"x", "x"}) +
                 op("b", "TestAddress", {"a"}) + op("c", "TestAddress", {"b", "^a"}) + op("d", "TestAddress", {"c"}) +
                 result("r", 0, "d"));
  addresses.clear();
  e->run({scalar(1)});
  CHECK(addresses.size() == 3 && addresses[0] == addresses[1] && addresses[1] == addresses[2]);
  auto shared = build(argument("x", 0, {}) + node("trigger", "ControlTrigger", {}) + op("a", "TestAdd", {"x", "x"}) +
                      op("b", "TestAddress", {"a"}) + op("c", "TestAddress", {"a", "^b"}) + op("y", "TestAdd", {"b", "c"}) +
                      result("r", 0, "y"));
  addresses.clear();
  CHECK(values(shared->run({scalar(1)})[0]) == Floats({4}));
  CHECK(addresses[0] != addresses[1]);
}

void gates_hold_updates_back() {
  auto resources = std::make_shared<Resources>();
  resources->find_or_create<Variable>("", "v")->value = scalar(1);
  auto e = build(argument("x", 0, {}) + argument("go", 1, {}, 10) + node("trigger", "ControlTrigger", {}) +
                     node("v", "VariableV2Test", {}, kRef) + node("gate", "_Gate", {"go"}) +
                     node("up", "AssignAddTest", {"v", "x", "^gate"}, kRef) + result("r", 0, "up"),
                 resources);
  CHECK(values(e->run({scalar(5), truth(false)})[0]) == Floats({1}));
  CHECK(values(e->run({scalar(5), truth(true)})[0]) == Floats({6}));
}

void malformed_graphs_are_refused_by_name() {
  const auto refused = [](const Bytes& b, const char* part) {
    return fails(Code::InvalidArgument, part, [&] { build(b); });
  };
  const Bytes x = argument("x", 0, {}), p = argument("p", 1, {}, 10);
  CHECK(refused(x + flow("e", "Enter", {"x"}), "e|[Enter] node 'e' has no attr 'frame_name'"));
  CHECK(refused(x + enter("e", "x", ""), "e|[Enter] node 'e' needs a frame_name"));
  CHECK(refused(x + enter("e", "x", "f", 0), "e|[Enter] parallel_iterations must be at least 1: node 'e' has 0"));
  CHECK(refused(x + enter("e", "x", "f"), "e|[Enter] a loop ends by an Exit: loop 'f' of node 'e' has none"));
  CHECK(refused(flow("m", "Merge", {}), "m|[Merge] node 'm' needs an input that is no NextIteration"));
  CHECK(refused(x + flow("out", "Exit", {"x"}), "out|[Exit] node 'out' is in no loop"));
  CHECK(refused(x + flow("n", "NextIteration", {"x"}), "n|[NextIteration] node 'n' is in no loop"));
  CHECK(refused(x + flow("s", "Switch", {"x"}), "s|[Switch] takes 2 inputs: node 's' has 1"));
  CHECK(refused(x + flow("l", "LoopCond", {"x", "x"}), "l|[LoopCond] takes 1 input: node 'l' has 2"));
  CHECK(refused(x + enter("e", "x", "f") + flow("out", "Exit", {"e"}) + op("y", "TestAdd", {"e", "x"}),
                "y|[graph] the inputs of a node are in one frame: node 'y' (TestAdd) reads 'e' in loop 'f' and 'x' in no loop"));
  CHECK(refused(x + enter("e", "x", "f") + flow("out", "Exit", {"e"}) + result("r", 0, "e"), "r|[_Retval] node 'r' reads 'e' inside"));
  CHECK(refused(op("a", "TestIdentity", {"b"}) + op("b", "TestIdentity", {"a"}) + flow("t", "ControlTrigger", {}),
                "[graph] a graph has no cycles but through NextIteration and Merge"));
  CHECK(refused(x + enter("e", "x", "f") + flow("m", "Merge", {"e", "m"}) + flow("out", "Exit", {"m"}), "m|[graph] a graph has no cycles but"));
  CHECK(refused(x + enter("e", "x", "f") + flow("n", "NextIteration", {"e"}) + op("y", "TestIdentity", {"n"}) +
                    flow("out", "Exit", {"e"}),
                "y|[NextIteration] only a Merge reads the next iteration"));
  CHECK(refused(x + enter("e", "x", "f") + enter("g", "x", "h") + flow("n", "NextIteration", {"g"}) +
                    flow("m", "Merge", {"e", "n"}) + flow("out", "Exit", {"m"}) + flow("out2", "Exit", {"g"}),
                "m|[Merge] node 'm' in loop 'f' reads NextIteration 'n' of loop 'h'"));
}

void graphs_that_are_wired_wrongly_end_with_an_error() {
  // the Exit reads the Merge: it fires in every iteration
  const Bytes head = argument("n", 0, {}) + argument("x", 1, {});
  auto twice = build(loop(10) + flow("early", "Exit", {"mi"}) + result("r3", 2, "early"));
  CHECK(fails(Code::InvalidArgument, "early|[Exit] node 'early' lets a value out of loop 'f' in more than one iteration",
              [&] { twice->run({scalar(3), scalar(1)}); }));
  // nobody sends the second iteration its other input
  auto stuck = build(head + enter("e", "n", "f") + enter("k", "x", "f") + flow("m", "Merge", {"e", "next"}) +
                     op("less", "TestLess", {"m", "k"}) + flow("c", "LoopCond", {"less"}) + flow("s", "Switch", {"m", "c"}) +
                     op("body", "TestAddOne", {"s:1"}) + flow("next", "NextIteration", {"body"}) + flow("out", "Exit", {"s"}) +
                     result("r", 0, "out"));
  CHECK(values(stuck->run({scalar(3), scalar(1)})[0]) == Floats({3}));
  CHECK(fails(Code::Internal, "nothing is ready, but nodes wait for inputs that will not come", [&] { stuck->run({scalar(0), scalar(9)}); }));
  auto number = build(head + flow("s", "Switch", {"x", "n"}) + result("r", 0, "s"));
  CHECK(fails(Code::InvalidArgument, "s|[Switch] pred must be one bool: got float32 of shape ()", [&] { number->run({scalar(1), scalar(1)}); }));
}

}  // namespace

int main() {
  TEST(a_conditional_takes_one_branch);
  TEST(the_branch_not_taken_does_not_run);
  TEST(a_merge_says_which_input_it_took);
  TEST(a_dead_fetch_is_refused_by_its_index);
  TEST(a_control_edge_carries_the_deadness_of_its_op);
  TEST(a_merge_waits_for_its_control_inputs);
  TEST(a_loop_runs_until_its_condition_is_false);
  TEST(no_more_iterations_run_at_once_than_allowed);
  TEST(loops_nest);
  TEST(a_loop_on_a_branch_not_taken_is_dead);
  TEST(a_conditional_lies_in_a_loop);
  TEST(a_loop_updates_a_variable);
  TEST(handles_travel_and_die_with_their_last_reader);
  TEST(an_error_in_a_loop_names_its_node);
  TEST(every_call_is_timed);
  TEST(memory_is_reused_in_place_where_nobody_reads_it);
  TEST(gates_hold_updates_back);
  TEST(malformed_graphs_are_refused_by_name);
  TEST(graphs_that_are_wired_wrongly_end_with_an_error);
  return failures != 0;
}
