"""Switch, Merge and the ops of loops, wired by hand: which values come out, and what stays dead."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.files.wire import import_graph_def
from ringflow.graph.opdef import OPS

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def session(graph):
    with rf.Session(graph=graph, backend="reference") as s:
        yield s


def op(kind, *args, **attrs):
    return OPS[kind](*args, **attrs)


def counting_loop(start, limit, step=1, constant=True, parallel=10, inputs=()):
    """while i < limit: i += step; the Exit of i and the operations of the loop by role."""
    frame = {"frame_name": f"loop{len(rf.get_default_graph().get_operations())}", "parallel_iterations": parallel}
    enter = op("Enter", start, **frame)
    n, k = (op("Enter", x, is_constant=constant, **frame) for x in (limit, step))
    merge = op("Merge", [enter, enter])[0]
    go = op("LoopCond", op("Less", merge, n))
    leave, stay = op("Switch", merge, go)
    after = op("NextIteration", op("AddV2", stay, k))
    merge.op._update_input(1, after)
    return op("Exit", leave), {"stay": stay, "leave": leave, "go": go, "merge": merge, "frame": frame}


@pytest.mark.parametrize("pred", [True, False])
def test_switch_and_merge_choose_a_branch(session, pred):
    p, x = rf.placeholder(rf.bool, []), rf.constant([1.0, 2.0])
    no, yes = op("Switch", x, p)
    value, index = op("Merge", [no * 10.0, yes + 1.0])
    got, which = session.run([value, index], {p: pred})
    np.testing.assert_array_equal(got, [2, 3] if pred else [10, 20])
    assert which == int(pred)


def test_fetching_what_was_not_chosen_is_an_error_that_names_it(session):
    no, yes = op("Switch", rf.constant(1.0), rf.constant(True), name="s")
    assert session.run(yes) == 1
    with pytest.raises(InvalidArgumentError, match=r"Retval\[0\] does not have value.*'s:0'.*test_control_ops.py"):
        session.run(no)


def test_control_edges_carry_the_death_of_the_operation_and_end_at_a_trigger(session):
    p = rf.placeholder(rf.bool, [])
    no, yes = op("Switch", rf.constant(1.0), p)
    with rf.control_dependencies([no.op]):
        alive = rf.constant(1.0) * 1.0
    with rf.control_dependencies([rf.identity(no)]):
        follows = rf.constant(2.0) * 1.0
    with rf.control_dependencies([rf.identity(no)]):
        trigger = op("ControlTrigger")
    with rf.control_dependencies([trigger]):
        revived = rf.constant(3.0) * 1.0
    assert session.run([alive, revived], {p: True}) == [1, 3]
    assert session.run([alive, follows, revived], {p: False}) == [1, 2, 3]
    with pytest.raises(InvalidArgumentError, match="does not have value"):
        session.run(follows, {p: True})


@pytest.mark.parametrize("parallel", [1, 2, 10])
@pytest.mark.parametrize("limit, want", [(10, 10), (11, 12), (0, 0), (-5, 0)])
def test_a_loop_counts(session, limit, want, parallel):
    n = rf.placeholder(rf.int32, [])
    out, _ = counting_loop(rf.constant(0), n, 2, parallel=parallel)
    assert session.run(out * 1, {n: limit}) == want


def test_a_loop_on_the_branch_not_taken_ends_dead(session):
    p = rf.placeholder(rf.bool, [])
    no, yes = op("Switch", rf.constant(0), p)
    with rf.control_dependencies([rf.identity(yes)]):
        limit, step = rf.constant(5), rf.constant(1)
    out, _ = counting_loop(yes, limit, step)
    result = op("Merge", [no - 1, out])[0]
    assert session.run(result, {p: True}) == 5
    assert session.run(result, {p: False}) == -1


def test_a_loop_in_a_loop(session):
    """i counts to 3; j counts from i to i + 2 in each, and its ends are added up."""
    frame = {"frame_name": "outer"}
    i, s = (op("Enter", rf.constant(0), **frame) for _ in range(2))
    three, one = (op("Enter", rf.constant(c), is_constant=True, **frame) for c in (3, 1))
    mi, ms = (op("Merge", [x, x])[0] for x in (i, s))
    go = op("LoopCond", op("Less", mi, three))
    (_, stay_i), (leave_s, stay_s) = op("Switch", mi, go), op("Switch", ms, go)
    end, _ = counting_loop(stay_i, stay_i + one + one, one)
    mi.op._update_input(1, op("NextIteration", stay_i + one))
    ms.op._update_input(1, op("NextIteration", stay_s + end))
    assert session.run(op("Exit", leave_s)) == 2 + 3 + 4


def test_a_reference_in_a_branch_is_updated_there_alone(session):
    v, p = rf.Variable(1.0), rf.placeholder(rf.bool, [])
    no, yes = op("RefSwitch", v, p)
    result = op("Merge", [op("AssignSub", no, 10.0) * 1.0, op("AssignAdd", yes, 10.0) * 1.0])[0]
    session.run(v.initializer)
    assert session.run(result, {p: True}) == 11
    assert session.run(result, {p: False}) == 1
    assert session.run(v) == 1


def test_references_come_out_of_a_branch_as_references(session):
    a, b, p = rf.Variable(1.0), rf.Variable(2.0), rf.placeholder(rf.bool, [])
    chosen = op("RefMerge", [op("RefSwitch", a, p)[0], op("RefSwitch", b, p)[1]])[0]
    session.run(rf.global_variables_initializer())
    session.run(op("AssignAdd", chosen, 10.0), {p: True})
    assert session.run([a, b]) == [1, 12]


def test_a_read_comes_before_an_update_through_a_reference_that_may_be_either(session):
    a, b, p = rf.Variable([1.0]), rf.Variable([2.0]), rf.placeholder(rf.bool, [])
    chosen = op("RefMerge", [op("RefSwitch", a, p)[0], op("RefSwitch", b, p)[1]])[0]
    update = op("AssignAdd", chosen, [10.0]).op
    reads = [rf.identity(a) * 1.0, rf.identity(b) * 1.0]
    session.run(rf.global_variables_initializer())
    for value, after in ((True, [1, 12]), (False, [11, 12])):
        before = session.run([a, b])
        got, _ = session.run([reads, update], {p: value})
        assert got == before
        assert session.run([a, b]) == after


@pytest.mark.parametrize("parallel", [1, 4])
def test_updates_in_a_loop_happen_once_an_iteration(session, parallel):
    v = rf.Variable(0)
    _, loop = counting_loop(rf.constant(0), rf.constant(5), parallel=parallel)
    ref = op("RefEnter", v, is_constant=True, **loop["frame"])
    with rf.control_dependencies([rf.identity(loop["stay"])]):
        update = op("AssignAdd", ref, loop["stay"])
    total = op("Enter", rf.constant(0), **loop["frame"])
    merge = op("Merge", [total, total])[0]
    leave, _ = op("Switch", merge, loop["go"])
    merge.op._update_input(1, op("NextIteration", rf.identity(update)))
    session.run(v.initializer)
    assert session.run(op("Exit", leave)) == 10
    assert session.run(v) == 10


def test_strings_and_bools_go_through(session):
    p = rf.placeholder(rf.bool, [])
    no, yes = op("Switch", rf.constant([b"a", b"bc"]), p)
    joined = op("Merge", [no, yes])[0]
    assert list(session.run(joined, {p: True})) == [b"a", b"bc"]


def test_a_predicate_that_is_no_scalar_is_refused_at_build_and_in_the_run(session):
    with pytest.raises(InvalidArgumentError, match=r"'pred' must be a scalar: it has shape \(2,\)"):
        op("Switch", 1.0, [True, False])
    p = rf.placeholder(rf.bool)
    with pytest.raises(InvalidArgumentError, match=r"'pred' must be a scalar: it has shape \(1,\)"):
        session.run(op("Switch", 1.0, p)[0], {p: [True]})


def test_an_operation_that_mixes_frames_is_refused(session):
    _, loop = counting_loop(rf.constant(0), rf.constant(3))
    wrong = op("AddV2", loop["stay"], rf.constant(1), name="wrong")
    with pytest.raises(InvalidArgumentError, match="'wrong' must be in one loop: .* is in no loop.*Fix:"):
        session.run(op("Exit", wrong))


def test_fetching_a_tensor_of_a_loop_is_refused(session):
    _, loop = counting_loop(rf.constant(0), rf.constant(3))
    for fetch in (loop["stay"], loop["stay"].op):
        with pytest.raises(InvalidArgumentError, match="is inside the loop 'loop2'.*Fix: return it from the body"):
            session.run(fetch)


def test_simplifying_does_not_revive_what_is_dead(session):
    """The reshape does nothing, but it is dead where the shape is: both inputs of the Merge would be alive."""
    p, x = rf.placeholder(rf.bool, []), rf.placeholder(rf.float32, [2])
    no, yes = (rf.identity(t) for t in op("Switch", p, p))
    with rf.control_dependencies([yes]):
        shape = rf.constant([2])
    with rf.control_dependencies([no]):
        other = rf.constant([5.0, 6.0])
    index = op("Merge", [rf.reshape(x, shape), other])[1]
    assert session.run(index, {p: False, x: [1, 2]}) == 1
    assert session.run(index, {p: True, x: [1, 2]}) == 0


def test_cycles_go_through_files_and_back(graph):
    out, _ = counting_loop(rf.constant(0), rf.constant(7))
    rf.identity(out, name="out")
    data = graph.as_graph_def().SerializeToString(deterministic=True)
    with rf.Graph().as_default() as again:
        import_graph_def(data, name="")
        with rf.Session(graph=again, backend="reference") as s:
            assert s.run("out:0") == 7
        assert again.as_graph_def().SerializeToString(deterministic=True) == data


def test_other_cycles_are_still_refused(graph):
    out, _ = counting_loop(rf.constant(0), rf.constant(7))
    message = graph.as_graph_def()
    for node in message.node:
        if node.op == "NextIteration":
            node.op = "Identity"
    with rf.Graph().as_default(), pytest.raises(InvalidArgumentError, match="cycle through"):
        import_graph_def(message, name="")


def test_leave_is_an_older_name_of_exit(graph):
    out, _ = counting_loop(rf.constant(0), rf.constant(7))
    message = graph.as_graph_def()
    next(n for n in message.node if n.op == "Exit").op = "Leave"
    with rf.Graph().as_default() as again:
        import_graph_def(message, name="")
        with rf.Session(graph=again, backend="reference") as s:
            assert s.run(out.name) == 7
