"""Partial runs: what may be fed and fetched when, that nodes run once, errors, several devices."""
import os
import time

import numpy as np
import pytest

pytest.importorskip("ringflow._core")

import ringflow as rf
from ringflow.graph.errors import CancelledError, GraphError, InvalidArgumentError, UnimplementedError


@pytest.fixture(params=[1, 2], ids=["one device", "two devices"])
def session(graph, request):
    config = rf.ConfigProto(device_count={"CPU": request.param}, allow_soft_placement=True)
    with rf.Session(graph=graph, config=config) as s:
        yield s


def three():
    """r1 = a + b, r2 = r1 * c, on two devices where there are two."""
    a, b, c = (rf.placeholder(rf.float32, [], name=n) for n in "abc")
    r1 = rf.add(a, b, name="r1")
    with rf.device("/cpu:1"):
        r2 = rf.multiply(r1, c, name="r2")
    return a, b, c, r1, r2


def test_results_are_fed_back_into_the_run(session):
    a, b, c, r1, r2 = three()
    for _ in range(3):  # one setup, several runs
        handle = session.partial_run_setup([r1, r2], [a, b, c])
        first = session.partial_run(handle, r1, {a: 1, b: 2})
        assert first == 3.0
        assert session.partial_run(handle, r2, {c: first * 10}) == 90.0


def test_feeds_may_come_before_they_are_needed_and_fetches_have_structure(session):
    a, b, c, r1, r2 = three()
    handle = session.partial_run_setup({"all": [r1, r2], "fed": a}, [a, b, c])
    assert session.partial_run(handle, [], {c: 17.0}) == []
    assert session.partial_run(handle, {"x": a}, {"a:0": 1.0}) == {"x": 1.0}
    assert session.partial_run(handle, (r1, r2), {b: 2.0}) == (3.0, 51.0)


def test_without_feeds_and_in_parallel(session):
    a, b, c, r1, r2 = three()
    one, two = session.partial_run_setup([r1, r2], [a, b, c]), session.partial_run_setup([r1, r2], [a, b, c])
    assert session.partial_run(one, r1, {a: 1, b: 1}) == 2.0
    assert session.partial_run(two, r1, {a: 5, b: 5}) == 10.0
    assert session.partial_run(two, r2, {c: 2}) == 20.0
    assert session.partial_run(one, r2, {c: 3}) == 6.0
    constant = rf.constant(4.0) * 2.0
    handle = session.partial_run_setup([constant])
    assert session.partial_run(handle, constant) == 8.0


# ---- breaches, with TensorFlow's texts
def test_what_breaks_the_rules_is_refused_and_the_run_goes_on(session):
    a, b, c, r1, r2 = three()
    other = a * 5.0
    handle = session.partial_run_setup([r1, r2], [a, b, c])
    with pytest.raises(InvalidArgumentError, match="Fetch r2:0 can't be computed from the feeds that have been fed so"):
        session.partial_run(handle, r2, {a: 1, b: 2})
    with pytest.raises(InvalidArgumentError, match="The fetch .*:0 was not specified in partial_run_setup."):
        session.partial_run(handle, other, {a: 1})
    with pytest.raises(InvalidArgumentError, match="The feed r1:0 was not specified in partial_run_setup."):
        session.partial_run(handle, r2, {r1: 1})
    assert session.partial_run(handle, r1, {a: 1, b: 2}) == 3.0
    with pytest.raises(InvalidArgumentError, match="The feed a:0 has already been fed"):
        session.partial_run(handle, r2, {a: 1, c: 2})
    with pytest.raises(InvalidArgumentError, match="The fetch r1:0 has already been fetched."):
        session.partial_run(handle, [r1, r2], {c: 2})
    assert session.partial_run(handle, r2, {c: 2}) == 6.0
    with pytest.raises(InvalidArgumentError, match="Must run 'setup' before performing partial runs!"):
        session.partial_run(handle, r2, {c: 2})
    with pytest.raises(GraphError, match="must come from partial_run_setup"):
        session.partial_run("handle", r2)


def test_a_value_that_does_not_fit_is_refused_before_anything_is_fed(session):
    a, b, c, r1, r2 = three()
    handle = session.partial_run_setup([r1, r2], [a, b, c])
    with pytest.raises(InvalidArgumentError, match="'b:0'"):
        session.partial_run(handle, r1, {a: 1, b: "text"})
    assert session.partial_run(handle, r1, {a: 1, b: 2}) == 3.0


# ---- state
def test_stateful_nodes_run_once(session):
    x = rf.placeholder(rf.float32, [])
    v = rf.Variable(0.0)
    up = v.assign_add(1.0)
    noise = rf.random_uniform([])
    with rf.control_dependencies([up]):
        first = rf.identity(noise)
    second = noise + x
    session.run(v.initializer)
    handle = session.partial_run_setup([first, second, up], [x])
    a = session.partial_run(handle, first)
    b, count = session.partial_run(handle, [second, up], {x: 0.0})
    assert a == b and count == 1.0
    assert session.run(v) == 1.0


def test_an_update_does_not_wait_for_later_feeds_of_those_who_read(session):
    x = rf.placeholder(rf.float32, [], name="x")
    for resource in (False, True):
        v = rf.Variable(3.0, use_resource=resource)
        session.run(v.initializer)
        old = v * x
        up = v.assign_add(1.0)
        handle = session.partial_run_setup([old, up, up.op], [x])
        assert session.partial_run(handle, up) == 4.0
        assert session.partial_run(handle, up.op) is None
        assert session.partial_run(handle, old, {x: 10.0}) == 30.0  # the value from before the run


def test_control_flow_may_depend_on_what_comes_late(session):
    p, n = rf.placeholder(rf.bool, [], name="p"), rf.placeholder(rf.int32, [], name="n")
    branch = rf.cond(p, lambda: rf.constant(1.0) * 2.0, lambda: rf.constant(5.0))
    count = rf.while_loop(lambda i: i < n, lambda i: i + 1, [rf.constant(0)])
    handle = session.partial_run_setup([branch, count], [p, n])
    assert session.partial_run(handle, branch, {p: True}) == 2.0
    assert session.partial_run(handle, count, {n: 7}) == 7


def test_what_is_fused_does_not_wait_for_later_feeds(session):
    x, y = (rf.placeholder(rf.float32, [64, 64], name=n) for n in "xy")
    early = rf.tanh(x) + 1.0
    late = rf.tanh(x) * rf.exp(y) + early
    handle = session.partial_run_setup([early, late], [x, y])
    ones = np.ones((64, 64), np.float32)
    first = session.partial_run(handle, early, {x: ones})
    np.testing.assert_allclose(session.partial_run(handle, late, {y: ones}), (first - 1) * np.exp(1) + first, rtol=1e-6)


# ---- errors
def test_an_error_of_a_node_ends_the_run(session):
    i = rf.placeholder(rf.int32, [], name="i")
    y = rf.gather(rf.constant([1.0, 2.0]), i, name="pick")
    z = rf.constant(1.0) + 1.0
    handle = session.partial_run_setup([y, z], [i])
    assert session.partial_run(handle, z) == 2.0
    with pytest.raises(InvalidArgumentError, match=r"pick.*test_partial_run.py"):
        session.partial_run(handle, y, {i: 7})
    with pytest.raises(InvalidArgumentError, match="Must run 'setup'"):
        session.partial_run(handle, y, {i: 1})
    assert session.run(y, {i: 1}) == 2.0


def test_a_handle_that_is_dropped_or_a_session_that_closes_ends_the_run(session):
    a, b, c, r1, r2 = three()
    for _ in range(5):
        handle = session.partial_run_setup([r1, r2], [a, b, c])
        session.partial_run(handle, r1, {a: 1, b: 2})
    del handle
    waiting = session.partial_run_setup([r1, r2], [a, b, c])
    session.partial_run(waiting, r1, {a: 1, b: 2})
    other = session.partial_run_setup([r1, r2], [a, b, c])
    session.close()
    del other
    with pytest.raises((CancelledError, InvalidArgumentError)):
        session.partial_run(waiting, r2, {c: 1})


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads as Linux lists them")
def test_closing_ends_the_threads_of_runs_that_wait(session):
    a, b, c, r1, r2 = three()
    before = len(os.listdir("/proc/self/task"))
    handles = [session.partial_run_setup([r1, r2], [a, b, c]) for _ in range(4)]
    assert len(os.listdir("/proc/self/task")) > before
    session.close()
    idle = len(handles) * (len(session.list_devices()) - 1)  # threads of the parts, until the plan is dropped
    until = time.monotonic() + 60
    while len(os.listdir("/proc/self/task")) > before + idle and time.monotonic() < until:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/task")) <= before + idle


def test_the_reference_backend_says_that_it_cannot():
    with rf.Graph().as_default(), rf.Session(backend="reference") as session:
        with pytest.raises(UnimplementedError, match="use backend='cpp'"):
            session.partial_run_setup([rf.constant(1.0)])


def test_arrays_of_any_shape_and_strings_travel(session):
    x, s = rf.placeholder(rf.float32, [None, 2]), rf.placeholder(rf.string, [None])
    total, joined = rf.reduce_sum(x, 0), rf.identity(s)
    handle = session.partial_run_setup([total, joined], [x, s])
    value = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(session.partial_run(handle, total, {x: value}), value.sum(0))
    assert session.partial_run(handle, joined, {s: ["a", "bc"]}).tolist() == [b"a", b"bc"]
