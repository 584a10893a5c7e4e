"""rf.while_loop: values, structures, captured tensors, variables, nesting, and what is refused."""
from collections import namedtuple

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("graph")

Pair = namedtuple("Pair", "a b")


def test_the_graph_has_tensorflows_form(graph):
    n = rf.placeholder(rf.int32, [], name="n")
    i, x = rf.while_loop(lambda i, x: rf.less(i, n), lambda i, x: (i + 1, rf.tanh(x)), [0, rf.constant(2.0, name="x")])
    assert (i.name, x.name) == ("while/Exit:0", "while/Exit_1:0")
    inputs = {name: [t.name for t in graph.get_operation_by_name(name).inputs] for name in (
        "while/Enter_1", "while/Merge_1", "while/Less", "while/Less/Enter", "while/LoopCond", "while/Switch_1",
        "while/Identity_1", "while/NextIteration_1", "while/Exit_1")}
    assert inputs == {
        "while/Enter_1": ["x:0"], "while/Merge_1": ["while/Enter_1:0", "while/NextIteration_1:0"],
        "while/Less": ["while/Merge:0", "while/Less/Enter:0"], "while/Less/Enter": ["n:0"],
        "while/LoopCond": ["while/Less:0"], "while/Switch_1": ["while/Merge_1:0", "while/LoopCond:0"],
        "while/Identity_1": ["while/Switch_1:1"], "while/NextIteration_1": ["while/Tanh:0"],
        "while/Exit_1": ["while/Switch_1:0"]}
    assert graph.get_operation_by_name("while/Enter").attrs["frame_name"] == "while/while_context"


@pytest.mark.parametrize("parallel", [1, 3, 10])
@pytest.mark.parametrize("n", [0, 1, 7, 40])
def test_a_loop_computes_what_python_does(session, n, parallel):
    limit = rf.placeholder(rf.int32, [])
    _, a, b = rf.while_loop(lambda i, a, b: i < limit, lambda i, a, b: (i + 1, b, a + b),
                            [0, rf.constant(0, rf.int64), rf.constant(1, rf.int64)], parallel_iterations=parallel)
    want = (0, 1)
    for _ in range(n):
        want = want[1], want[0] + want[1]
    assert session.run((a, b), {limit: n}) == want


def test_structures_keep_their_form(session):
    start = (0, {"p": Pair(1.0, [2.0]), "q": rf.constant([3.0])})
    i, d = rf.while_loop(lambda i, d: i < 3,
                         lambda i, d: (i + 1, {"p": Pair(d["p"].a * 2.0, [d["p"].b[0] + 1.0]), "q": -d["q"]}), start)
    got = session.run(d)
    assert isinstance(got["p"], Pair) and got["p"] == (8, [5]) and got["q"] == [-3]


def test_a_single_variable_comes_alone_unless_asked(session):
    alone = rf.while_loop(lambda x: x < 10, lambda x: x * 2, [1])
    listed = rf.while_loop(lambda x: x < 10, lambda x: [x * 2], [1], return_same_structure=True)
    assert session.run(alone) == 16
    assert session.run(listed) == [16]


def test_a_dict_of_variables_is_passed_whole(session):
    got = rf.while_loop(lambda d: d["i"] < 3, lambda d: {"i": d["i"] + 1, "s": d["s"] + d["i"]}, {"i": 0, "s": 0})
    assert session.run(got) == {"i": 3, "s": 3}


def test_maximum_iterations_ends_the_loop(session):
    most = rf.placeholder(rf.int32, [])
    x = rf.while_loop(lambda x: x < 100, lambda x: x * 2, [1], maximum_iterations=most)
    i, y = rf.while_loop(lambda i, y: True, lambda i, y: (i + 1, y + 0.5), (0, 1.0), maximum_iterations=4)
    assert [session.run(x, {most: n}) for n in (0, 3, 99)] == [1, 8, 128]
    assert session.run((i, y)) == (4, 3)


def test_a_loop_inside_a_loop_inside_a_branch(session):
    p, x = rf.placeholder(rf.bool, []), rf.constant([1.0, 2.0])

    def loops():
        return rf.while_loop(
            lambda i, a: i < 3,
            lambda i, a: (i + 1, rf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, b + x), [0, a])[1]),
            (0, x))[1]

    y = rf.cond(p, loops, lambda: x * 100.0)
    np.testing.assert_array_equal(session.run(y, {p: True}), [4, 8])
    np.testing.assert_array_equal(session.run(y, {p: False}), [100, 200])


def test_a_branch_inside_a_loop_sees_loop_and_outside(session):
    x = rf.placeholder(rf.float32, [])
    _, y = rf.while_loop(lambda i, y: i < 5,
                         lambda i, y: (i + 1, rf.cond(i % 2 > 0, lambda: y * x, lambda: y + rf.cast(i, rf.float32))),
                         (0, 1.0))
    assert session.run(y, {x: 10.0}) == ((1 + 0) * 10 + 2) * 10 + 4


def test_shapes_may_change_where_the_invariant_says_so(session):
    x = rf.while_loop(lambda x: rf.shape(x)[0] < 5, lambda x: rf.concat([x, x], 0), [rf.constant([1.0, 2.0])],
                      shape_invariants=[rf.TensorShape([None])])
    assert x.shape.as_list() == [None]
    np.testing.assert_array_equal(session.run(x), [1, 2] * 4)


def test_operations_in_the_body_run_once_an_iteration(session):
    v = rf.Variable(0)

    def body(i):
        with rf.control_dependencies([v.assign_add(i)]):
            return i + 1

    out = rf.while_loop(lambda i: i < 5, body, [0])
    session.run(v.initializer)
    assert session.run(out) == 5
    assert session.run(v) == 10


@pytest.mark.parametrize("resource", [False, True])
def test_a_loop_reads_what_the_iteration_before_wrote(session, resource):
    v = rf.Variable(1.0, use_resource=resource)

    def body(i):
        with rf.control_dependencies([v.assign(v.read_value() * 2.0)]):
            return i + 1

    out = rf.while_loop(lambda i: i < 6, body, [0])
    session.run(rf.variables_initializer([v]))
    assert session.run(out) == 6
    assert session.run(v) == 64


def test_a_value_read_before_the_loop_stays_what_it_was(session):
    v = rf.Variable([1.0])
    old = v.value()

    def body(i, s):
        with rf.control_dependencies([v.assign_add([1.0])]):
            return i + 1, s + old

    _, s = rf.while_loop(lambda i, s: i < 3, body, (0, rf.constant([0.0])))
    session.run(v.initializer)
    total, before = session.run([s, old])
    assert total == [3] and before == [1]
    assert session.run(v) == [4]


def test_an_update_after_a_loop_does_not_reach_into_it(session):
    v = rf.Variable([2.0, 3.0])
    _, s = rf.while_loop(lambda i, s: i < 20, lambda i, s: (i + 1, s + v), (0, rf.zeros([2])))
    update = v.assign([-100.0, -100.0]).op
    session.run(v.initializer)
    total, _ = session.run([s, update])
    np.testing.assert_array_equal(total, [40, 60])
    np.testing.assert_array_equal(session.run(v), [-100, -100])


def test_the_loop_begins_after_the_control_dependencies_around_it(session):
    v = rf.Variable(1)
    with rf.control_dependencies([v.assign(5)]):
        out = rf.while_loop(lambda i: i < 3, lambda i: i + 1, [v.read_value() - 5])
        late = rf.while_loop(lambda i: i < v.read_value(), lambda i: i + 1, [0])
    session.run(v.initializer)
    assert session.run([out, late]) == [3, 5]


def test_control_dependencies_on_what_is_outside(session):
    v = rf.Variable(0)
    update = v.assign_add(1)

    def body(i):
        with rf.control_dependencies([update]):
            return i + 1

    out = rf.while_loop(lambda i: i < 3, body, [0])
    session.run(v.initializer)
    assert session.run(out) == 3
    assert session.run(v) == 1


def test_variables_made_in_a_body_are_made_outside(session):
    _, y = rf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * rf.get_variable("w", initializer=2.0)), (0, 1.0))
    session.run(rf.global_variables_initializer())
    assert session.run(y) == 8


def test_a_tensor_array_is_a_loop_variable(session):
    array = rf.TensorArray(rf.float32, 0, dynamic_size=True)
    _, array = rf.while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, a.write(i, rf.cast(i * i, rf.float32))),
                             (0, array))
    np.testing.assert_array_equal(session.run(array.stack()), [0, 1, 4, 9])


def test_constants_and_shapes_in_a_body_are_folded_in_place(session):
    x = rf.placeholder(rf.float32, [None, 2])
    _, y = rf.while_loop(lambda i, y: i < rf.constant(1) + 2,
                         lambda i, y: (i + 1, rf.reshape(y, [-1, rf.shape(x)[1] * 1]) * (rf.constant(3.0) - 1.0)),
                         (0, x), shape_invariants=(rf.TensorShape([]), rf.TensorShape([None, None])))
    np.testing.assert_array_equal(session.run(y, {x: [[1, 2]]}), [[8, 16]])


def test_a_graph_file_with_loops_and_branches_runs_again(session, graph):
    x = rf.placeholder(rf.float32, [2], name="x")
    _, y = rf.while_loop(lambda i, y: i < 4, lambda i, y: (i + 1, rf.cond(i > 1, lambda: y * x, lambda: y + x)), (0, x))
    rf.identity(y, name="y")
    want = session.run("y:0", {"x:0": [1, 2]})
    data = graph.as_graph_def().SerializeToString()
    with rf.Graph().as_default() as again:
        rf.import_graph_def(data, name="")
        with rf.Session(graph=again, backend="reference") as s:
            np.testing.assert_array_equal(s.run("y:0", {"x:0": [1, 2]}), want)



@pytest.mark.parametrize("build, text", [
    (lambda: rf.while_loop(lambda i, x: i < 3, lambda i, x: i + 1, (0, 1.0)),
     "as many values as there are loop_vars: it returned 1, there are 2. Fix:"),
    (lambda: rf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, i), (0, 1.0)),
     r"loop variable 1 \('while/Const_1:0'\) must keep its dtype: it is float32, body returned int32. Fix: rf.cast"),
    (lambda: rf.while_loop(lambda x: True, lambda x: rf.concat([x, x], 0), [rf.constant([1.0])]),
     r"loop variable 0 .* must keep its shape: it enters the loop with shape \(1,\), body returned \(2,\).*"
     "Fix: pass shape_invariants"),
    (lambda: rf.while_loop(lambda x: x, lambda x: x, [1.0]), "cond must return a bool scalar: .* is float32"),
    (lambda: rf.while_loop(lambda x: x > [0.0, 1.0], lambda x: x, [1.0]), r"bool scalar: .* bool of shape \(2,\)"),
    (lambda: rf.while_loop(lambda x: True, lambda x: rf.no_op(), [1.0]), "must stay a tensor"),
    (lambda: rf.while_loop(lambda: True, lambda: (), []), "at least one"),
    (lambda: rf.while_loop(lambda x: True, lambda x: x, [[1.0, 2.0]], shape_invariants=[rf.TensorShape([3])]),
     "shape_invariants must have the structure"),
    (lambda: rf.while_loop(lambda x: True, lambda x: x, [rf.zeros([2])], shape_invariants=[rf.TensorShape([3])]),
     r"does not fit its shape invariant: .* has shape \(2,\), the invariant is \(3,\)"),
    (lambda: rf.while_loop(lambda x: True, lambda x: x, [1.0], maximum_iterations=2.0), "must be an integer scalar"),
    (lambda: rf.while_loop(lambda x: True, lambda x: x, [1.0], parallel_iterations=0), "at least 1: got 0"),
    (lambda: rf.while_loop(lambda d: True, lambda d: {"y": d["x"]}, {"x": 1.0}), "must return the structure"),
])
def test_wrong_loops_are_refused_with_what_differs(build, text):
    with pytest.raises(InvalidArgumentError, match=text):
        build()


def test_a_tensor_of_the_body_is_refused_outside():
    kept = []
    rf.while_loop(lambda i: i < 3, lambda i: kept.append(rf.add(i, 1, name="inner")) or kept[0], [0])
    with pytest.raises(InvalidArgumentError, match="'while/inner:0' is made in the loop 'while/while_context' and "
                                                   "cannot be used outside of it, by 'outer'"):
        rf.multiply(kept[0], 2, name="outer")


def test_feeding_a_tensor_of_the_body_is_refused(session):
    kept = []
    out = rf.while_loop(lambda i: i < 3, lambda i: kept.append(rf.add(i, 1, name="inner")) or kept[0], [0])
    with pytest.raises(InvalidArgumentError, match="'while/inner:0' cannot be fed: it is inside the loop.*Fix:"):
        session.run(out, {kept[0]: 3})


def test_an_endless_loop_of_many_iterations_takes_no_more_memory_than_its_last(session):
    n = 3000
    assert session.run(rf.while_loop(lambda i: i < n, lambda i: i + 1, [0])) == n
