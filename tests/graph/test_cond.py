"""rf.cond, rf.case and rf.switch_case: what is chosen, what does not run, and what is refused."""
from collections import namedtuple

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.topology import ancestors

from .plans import nodes, optimised

pytestmark = pytest.mark.usefixtures("graph")

Pair = namedtuple("Pair", "a b")


@pytest.fixture
def p():
    return rf.placeholder(rf.bool, [], name="p")


def test_the_graph_has_tensorflows_form(graph, p):
    x = rf.placeholder(rf.float32, [3], name="x")
    y = rf.cond(p, lambda: rf.multiply(x, x, name="mul"), lambda: rf.exp(x))
    assert y.name == "cond/Merge:0" and y.shape == (3,)
    inputs = {name: [t.name for t in graph.get_operation_by_name(name).inputs] for name in
              ("cond/Switch", "cond/switch_t", "cond/switch_f", "cond/pred_id", "cond/mul", "cond/mul/Switch",
               "cond/Exp", "cond/Merge")}
    assert inputs == {"cond/Switch": ["p:0", "p:0"], "cond/switch_t": ["cond/Switch:1"],
                      "cond/switch_f": ["cond/Switch:0"], "cond/pred_id": ["p:0"],
                      "cond/mul": ["cond/mul/Switch:1", "cond/mul/Switch:1"],
                      "cond/mul/Switch": ["x:0", "cond/pred_id:0"], "cond/Exp": ["cond/Exp/Switch:0"],
                      "cond/Merge": ["cond/Exp:0", "cond/mul:0"]}


@pytest.mark.parametrize("value", [True, False])
def test_structures_come_back_as_they_were_made(session, p, value):
    x = rf.constant([1.0, 2.0])
    result = rf.cond(p, lambda: {"a": (x, 1), "b": [Pair(x + 1.0, 2.0)]}, lambda: {"a": (x * 0.0, 7),
                                                                               "b": [Pair(x, 3.0)]})
    got = session.run(result, {p: value})
    assert isinstance(got["b"][0], Pair)
    np.testing.assert_array_equal(got["a"][0], [1, 2] if value else [0, 0])
    assert got["a"][1] == (1 if value else 7)
    np.testing.assert_array_equal(got["b"][0].a, [2, 3] if value else [1, 2])


def test_a_single_result_in_a_list_comes_alone_unless_strict(p):
    assert isinstance(rf.cond(p, lambda: [rf.constant(1)], lambda: [2]), rf.graph.operation.Tensor)
    assert len(rf.cond(p, lambda: [1], lambda: [2], strict=True)) == 1


def test_a_branch_may_return_what_it_captured_or_a_constant(session, p):
    x = rf.constant(5.0)
    y = rf.cond(p, lambda: x, lambda: 1.0)
    assert session.run(y, {p: True}) == 5
    assert session.run(y, {p: False}) == 1


def test_only_the_branch_taken_runs(session, p):
    v = rf.Variable(0.0)
    bad = rf.constant([1, 2])
    y = rf.cond(p, lambda: v.assign_add(1.0) * 1.0, lambda: rf.cast(rf.gather(bad, 7), rf.float32))
    session.run(v.initializer)
    assert session.run(y, {p: True}) == 1
    with pytest.raises(InvalidArgumentError):
        session.run(y, {p: False})
    assert session.run(v) == 1


def test_operations_as_results_run_in_their_branch_alone(session, p):
    v, w = rf.Variable(0.0), rf.Variable(0.0)
    done = rf.cond(p, lambda: rf.group(v.assign_add(1.0), w.assign_add(10.0)), lambda: rf.no_op())
    session.run(rf.global_variables_initializer())
    session.run(done, {p: False})
    assert session.run([v, w]) == [0, 0]
    session.run(done, {p: True})
    assert session.run([v, w]) == [1, 10]


def test_control_dependencies_in_a_branch_and_around_it(session, p):
    v = rf.Variable(1.0)

    def doubled():
        with rf.control_dependencies([v.assign_add(1.0)]):
            return v.read_value() * 2.0

    with rf.control_dependencies([v.assign(10.0)]):
        y = rf.cond(p, doubled, lambda: v.read_value() + 0.5)
    session.run(v.initializer)
    assert session.run(y, {p: True}) == 22
    assert session.run(y, {p: False}) == 10.5
    assert session.run(v) == 10


def test_reads_around_and_inside_of_branches_see_the_value_before_the_run(session, p):
    v = rf.Variable([1.0, 2.0])
    inside = rf.cond(p, lambda: v.value() * 10.0, lambda: v.value() * 100.0)
    rf.add_to_collection("update", v.assign_add([1.0, 1.0]).op)
    update = rf.get_collection("update")[0]
    session.run(v.initializer)
    got = session.run([inside, v.value(), update], {p: True})
    np.testing.assert_array_equal(got[0], [10, 20])
    np.testing.assert_array_equal(got[1], [1, 2])
    np.testing.assert_array_equal(session.run(v), [2, 3])


@pytest.mark.parametrize("resource", [False, True])
def test_an_update_waits_for_a_read_in_a_branch(p, resource):
    v = rf.Variable(np.ones(3, np.float32), use_resource=resource)
    update = v.assign_add(np.ones(3, np.float32)).op
    y = rf.cond(p, lambda: v.read_value() * 10.0, lambda: rf.zeros([3]))
    program = optimised([y], [p], [update])
    [writer] = nodes(program, "AssignAddVariableOp" if resource else "AssignAdd")
    assert any(op.name in ("cond/ReadVariableOp", "cond/Identity") for op in ancestors([writer]))


def test_updates_in_both_branches_of_one_predicate(session, p):
    v = rf.Variable(1.0)
    y = rf.cond(p, lambda: v.assign_add(1.0) * 1.0, lambda: v.assign_sub(1.0) * 1.0)
    z = rf.cond(rf.logical_not(p), lambda: v.assign_add(10.0) * 1.0, lambda: v.value())
    session.run(v.initializer)
    assert session.run(y, {p: True}) == 2
    assert session.run([y, z], {p: False})[0] in (1, 11)
    assert session.run(v) == 11


@pytest.mark.parametrize("resource", [False, True])
def test_variables_of_either_kind_are_updated_in_a_branch(session, p, resource):
    v = rf.Variable(1.0, use_resource=resource)
    y = rf.cond(p, lambda: rf.identity(v.assign_add(4.0)), lambda: rf.identity(v))
    session.run(rf.variables_initializer([v]))
    assert session.run(y, {p: False}) == 1
    assert session.run(y, {p: True}) == 5
    assert session.run(v) == 5


@pytest.mark.parametrize("a", [True, False])
@pytest.mark.parametrize("b", [True, False])
def test_conds_nest_and_capture_through_both(session, a, b):
    pa, pb, x = rf.placeholder(rf.bool, []), rf.placeholder(rf.bool, []), rf.constant(3.0)
    y = rf.cond(pa, lambda: rf.cond(pb, lambda: x * 2.0, lambda: x + 100.0) + x, lambda: rf.cond(pb, lambda: x,
                                                                                              lambda: -x))
    assert session.run(y, {pa: a, pb: b}) == {(1, 1): 9, (1, 0): 106, (0, 1): 3, (0, 0): -3}[a, b]


def test_indexed_slices_come_out_of_a_cond(session, p):
    x = rf.constant([[1.0], [2.0]])
    s = rf.cond(p, lambda: rf.IndexedSlices(x, rf.constant([0, 2]), rf.constant([4, 1])),
                lambda: rf.IndexedSlices(x * 2.0, rf.constant([1, 1], rf.int64), rf.constant([4, 1])))
    assert isinstance(s, rf.IndexedSlices)
    got = session.run(s, {p: False})
    np.testing.assert_array_equal(got.indices, [1, 1])
    np.testing.assert_array_equal(session.run(s._as_tensor(), {p: True})[:, 0], [1, 0, 2, 0])


def test_tensor_arrays_come_out_of_a_cond(session, p):
    array = rf.TensorArray(rf.float32, 2).write(0, 1.0)
    written = rf.cond(p, lambda: array.write(1, 2.0), lambda: array.write(1, 3.0))
    np.testing.assert_array_equal(session.run(written.stack(), {p: False}), [1, 3])


def test_the_predicate_and_captured_tensors_can_be_fed(session):
    x = rf.constant(1.0)
    go = x > 0.0
    y = rf.cond(go, lambda: x + 1.0, lambda: x - 1.0)
    assert session.run(y, {go: False}) == 0
    assert session.run(y, {x: 5.0}) == 6


def test_case_takes_the_first_that_holds(session):
    x = rf.placeholder(rf.int32, [])
    y = rf.case([(x < 10, lambda: 1), (x < 20, lambda: 2)], default=lambda: 3)
    assert [session.run(y, {x: v}) for v in (5, 15, 25)] == [1, 2, 3]


def test_case_without_default_or_exclusive_is_checked_in_the_run(session):
    x = rf.placeholder(rf.int32, [])
    y = rf.case({x < 10: lambda: 1, x > 5: lambda: 2}, exclusive=True)
    assert session.run(y, {x: 3}) == 1
    assert session.run(y, {x: 30}) == 2
    with pytest.raises(InvalidArgumentError, match="more than one predicate"):
        session.run(y, {x: 7})
    z = rf.case([(x < 0, lambda: 1)])
    with pytest.raises(InvalidArgumentError, match="no predicate is true"):
        session.run(z, {x: 1})


def test_switch_case_counts_from_zero_and_else_takes_the_last(session):
    i = rf.placeholder(rf.int32, [])
    y = rf.switch_case(i, [lambda: 10, lambda: 20, lambda: 30])
    assert [session.run(y, {i: v}) for v in (0, 1, 2, 9, -1)] == [10, 20, 30, 30, 30]
    z = rf.switch_case(i, {3: lambda: 1, 7: lambda: 2}, default=lambda: 0)
    assert [session.run(z, {i: v}) for v in (3, 7, 5)] == [1, 2, 0]


@pytest.mark.parametrize("build, text", [
    (lambda p: rf.cond(p, lambda: (1, 2), lambda: 1), "must return the same structure.*Fix:"),
    (lambda p: rf.cond(p, lambda: 1, lambda: 1.0), "must have one dtype: true_fn gave 'cond/Const:0', int32, false_fn "
                                                   "'cond/Const_1:0', float32"),
    (lambda p: rf.cond(p, lambda: None, lambda: 1.0), "true_fn must return a value"),
    (lambda p: rf.cond(rf.constant([True]), lambda: 1, lambda: 2), r"pred must be a bool scalar: 'cond/Const|'Const:0' "
                                                                   r"is bool of shape \(1,\)"),
    (lambda p: rf.cond(rf.constant(1), lambda: 1, lambda: 2), "pred must be a bool scalar: 'Const:0' is int32"),
])
def test_wrong_branches_are_refused_with_what_differs(p, build, text):
    with pytest.raises(InvalidArgumentError, match=text):
        build(p)


def test_a_python_bool_is_refused():
    with pytest.raises(TypeError, match="Python bool True.*Fix"):
        rf.cond(True, lambda: 1, lambda: 2)


def test_a_tensor_of_a_branch_is_refused_outside_and_in_the_other_branch(p):
    kept = []
    x = rf.constant(1.0)
    rf.cond(p, lambda: kept.append(rf.add(x, 1.0, name="inner")) or 1, lambda: 2)
    with pytest.raises(InvalidArgumentError, match="'cond/inner:0' is made in the branch 'cond' and cannot be used "
                                                   "outside of it, by 'outer'.*Fix: return it.*test_cond.py"):
        rf.multiply(kept[0], 2.0, name="outer")
    with pytest.raises(InvalidArgumentError, match="'cond_1/other': 'cond/inner:0' is made in the branch 'cond'"):
        rf.cond(p, lambda: 1.0, lambda: rf.add(kept[0], 1.0, name="other"))


def test_an_error_in_a_branch_leaves_the_graph_outside_of_it(graph, p):
    with pytest.raises(ZeroDivisionError):
        rf.cond(p, lambda: 1 / 0, lambda: 2)
    assert rf.identity(rf.constant(1)).op.context is None
