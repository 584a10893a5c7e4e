"""Several CPU devices in one process: the same bits as on one, errors, cancellation, threads, measured placement."""
import random
import threading

import numpy as np
import pytest

pytest.importorskip("ringflow._core")

import ringflow as rf
from hypothesis import HealthCheck, given, settings, strategies as st
from ringflow.graph.errors import CancelledError, DeadlineExceededError, InvalidArgumentError

from tests.graph.in_thread import InThread
from tests.graph.random_graphs import random_graph

pytestmark = pytest.mark.usefixtures("graph")


def several(n=2, **options):
    return rf.ConfigProto(device_count={"CPU": n}, allow_soft_placement=True, **options)


def outcome(made, config):
    with rf.Session(graph=made.graph, config=config, backend="cpp") as session:
        session.run(made.initialise)
        results = [session.run(fetches, feeds) for fetches, feeds in made.runs]
        return [*results, session.run(made.finals)]


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6), st.integers(5, 40))
def test_several_devices_give_the_bits_of_one(seed, nodes):
    check(seed, nodes)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_graphs_on_several_devices(block):
    for seed in range(block * 100, block * 100 + 100):
        check(seed, 10 + seed % 50)


def check(seed, nodes):
    source = random.Random(seed)
    n = source.randint(2, 4)
    one = random_graph(random.Random(seed), nodes)
    many = random_graph(random.Random(seed), nodes)
    for op in many.graph.get_operations():
        if source.random() < 0.8:
            op.device = f"/cpu:{source.randrange(n)}"
    plain = rf.OptimizerOptions(opt_level=-1)  # fused loops may round apart from others
    late = source.random() < 0.5
    on_many = several(n, graph_options=rf.GraphOptions(enable_recv_scheduling=late, optimizer_options=plain))
    on_one = rf.ConfigProto(graph_options=rf.GraphOptions(optimizer_options=plain))
    for a, b in zip(outcome(many, on_many), outcome(one, on_one)):
        for x, y in zip(a, b):
            if x is not None:
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)


def two_devices(n=64):
    """x -> a on device 0 -> b on device 1 -> c on device 0."""
    x = rf.placeholder(rf.float32, [None], name="x")
    with rf.device("/cpu:0"):
        a = rf.identity(x * 2.0, name="a")
    with rf.device("/cpu:1"):
        b = rf.identity(a + 1.0, name="b")
    with rf.device("/cpu:0"):
        c = rf.identity(b * a, name="c")
    return x, a, b, c


def test_tensors_cross_back_and_forth():
    x, a, b, c = two_devices()
    with rf.Session(config=several()) as session:
        made, compile_ = [], session.backend.compile
        session.backend.compile = lambda program: made.append(program) or compile_(program)
        for n in (1, 5, 5, 0, 7):
            v = np.arange(n, dtype=np.float32)
            got = session.run([c, b, a], {x: v})
            for value, want in zip(got, [(2 * v + 1) * 2 * v, 2 * v + 1, 2 * v]):
                np.testing.assert_array_equal(value, want)
        assert [[p.device.spec.device_index for p in program.parts] for program in made] == [[0, 1]] * 4


def test_training_on_two_devices_equals_one():
    def losses(config, devices):
        with rf.Graph().as_default(), rf.Session(config=config) as session:
            rf.set_random_seed(3)
            x = rf.constant(np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32))
            h = x
            for k, device in enumerate(devices):
                with rf.device(device):
                    w = rf.Variable(np.full((8, 8), 0.1 * (k + 1), np.float32))
                    h = rf.tanh(rf.matmul(h, w))
            loss = rf.reduce_mean(rf.square(h))
            step = rf.train.MomentumOptimizer(0.5, 0.9).minimize(loss)
            session.run(rf.global_variables_initializer())
            return [session.run([loss, step])[0] for _ in range(5)]

    one = losses(None, ["", ""])
    assert losses(several(), ["/cpu:0", "/cpu:1"]) == one
    assert one[-1] < one[0]


def test_an_error_on_one_device_ends_the_run_and_leaves_the_session_usable():
    i = rf.placeholder(rf.int32, [], name="i")
    with rf.device("/cpu:1"):
        bad = rf.gather(rf.constant([1.0, 2.0]), i, name="pick")
    with rf.device("/cpu:0"):
        y = rf.identity(bad, name="y") + 1.0
    with rf.Session(config=several()) as session:
        for _ in range(20):
            with pytest.raises(InvalidArgumentError, match=r"pick.*test_partitions.py"):
                session.run(y, {i: 9})
            assert session.run(y, {i: 1}) == 3.0


def test_a_deadline_and_closing_end_a_run_that_waits():
    queue = rf.FIFOQueue(1, [rf.float32], shapes=[[]])
    with rf.device("/cpu:1"):
        got = rf.identity(queue.dequeue(), name="got")
    with rf.device("/cpu:0"):
        y = rf.identity(rf.tanh(got), name="y")
    session = rf.Session(config=several())
    with pytest.raises(DeadlineExceededError):
        session.run(y, options=rf.RunOptions(timeout_in_ms=100))
    waiting = InThread(session, y)
    assert waiting.waits()
    session.close()
    with pytest.raises(CancelledError):
        waiting.result()


def test_threads_run_a_partitioned_plan_at_once():
    x, _, _, c = two_devices()
    failed = []
    with rf.Session(config=several()) as session:
        def work(k):
            for i in range(100):
                v = np.full(i % 3 + 1, k, np.float32)
                if not np.array_equal(session.run(c, {x: v}), (2 * v + 1) * 2 * v):
                    failed.append((k, i))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not failed


def test_a_control_edge_orders_updates_across_devices():
    with rf.device("/cpu:0"):
        v = rf.Variable(1.0)
        up = v.assign_add(2.0)
    with rf.device("/cpu:1"), rf.control_dependencies([up]):
        w = rf.Variable(5.0, name="w")
        after = rf.identity(v.read_value() * 10.0)
    with rf.Session(config=several()) as session:
        session.run(rf.global_variables_initializer())
        assert [session.run(after) for _ in range(3)] == [30.0, 50.0, 70.0]
        assert session.run(w) == 5.0


def test_a_plan_is_placed_again_by_measured_times(capfd):
    with rf.device("/cpu:0"):
        x = rf.identity(rf.constant(np.ones((300, 300), np.float32)))
    a, b = x, x
    for k in range(4):
        a, b = rf.matmul(a, x, name=f"a{k}"), rf.matmul(b, x, name=f"b{k}")
    y = rf.reduce_sum(a) + rf.reduce_sum(b)
    config = several(graph_options=rf.GraphOptions(build_cost_model=2), log_device_placement=True)
    with rf.Session(config=config) as session:
        values = [session.run(y) for _ in range(4)]
    assert len(set(values)) == 1
    log = capfd.readouterr().err
    assert log.count("a3: (MatMul): ") == 2  # placed at first, and again


def test_the_partition_of_a_graph_cannot_run_alone():
    from ringflow import _core
    from ringflow.graph.files.wire import to_graph_def
    from ringflow.graph.graph import Graph

    alone = Graph()
    attrs = {"tensor_type": rf.float32, "tensor_name": "t", "send_device": "a", "recv_device": "b",
             "send_device_incarnation": 1}
    alone.create_op("_Recv", [], attrs)
    data = to_graph_def(alone, annotate=True).SerializeToString()
    with pytest.raises(_core.Error, match="nobody to exchange tensors with"):
        _core.Executable(data, _core.Resources()).run([])


# ---- control flow over devices
def parts_of(session, fetches, feeds=None):
    """What `fetches` gives, and how many devices took part."""
    made, compile_ = [], session.backend.compile
    session.backend.compile = lambda program: made.append(program) or compile_(program)
    try:
        return session.run(fetches, feeds), len(made[-1].parts) if made else None
    finally:
        session.backend.compile = compile_


def test_branches_on_two_devices_are_taken_one_at_a_time():
    p, x = rf.placeholder(rf.bool, []), rf.placeholder(rf.float32, [3])
    v = rf.Variable(0.0)

    def here():
        with rf.device("/cpu:0"):
            return x * 2.0

    def there():
        with rf.control_dependencies([v.assign_add(1.0)]), rf.device("/cpu:1"):
            return rf.tanh(x) + 1.0

    y = rf.cond(p, here, there)
    z = rf.reduce_sum(y)
    with rf.Session(config=several()) as session:
        session.run(v.initializer)
        value = np.array([1, 2, 3], np.float32)
        for _ in range(3):
            (got, total), parts = parts_of(session, [y, z], {p: True, x: value})
            np.testing.assert_array_equal(got, 2 * value)
            np.testing.assert_allclose(session.run(y, {p: False, x: value}), np.tanh(value) + 1, rtol=1e-6)
        assert session.run(v) == 3.0
        assert total == 12.0


def test_a_dead_token_crosses_dead():
    p = rf.placeholder(rf.bool, [])
    graph = rf.get_default_graph()
    with rf.device("/cpu:0"):
        switch = graph.create_op("Switch", [rf.constant(1.0), p], {}, "s")
    with rf.device("/cpu:1"):
        far = rf.negative(switch.outputs[1], name="far")
    with rf.device("/cpu:0"):
        merged = graph.create_op("Merge", [far, switch.outputs[0]], {}, "m")
    with rf.Session(config=several()) as session:
        assert parts_of(session, merged.outputs[1], {p: True}) == (0, 2)
        assert session.run(merged.outputs[1], {p: False}) == 1
        assert session.run(far, {p: True}) == -1.0
        with pytest.raises(InvalidArgumentError, match="does not have value"):
            session.run(far, {p: False})


def loop(device, n, nested=False, parallel=10):
    """i, sum of squares of 0..n-1 (of i*j too where nested), with the body's work on `device`."""
    def body(i, total):
        with rf.device(device):
            square = rf.cast(i * i, rf.float32)
            if nested:
                square = rf.while_loop(lambda j, t: j < i, lambda j, t: (j + 1, t + rf.cast(i * j, rf.float32)),
                                       [rf.constant(0), square], parallel_iterations=parallel)[1]
        return i + 1, total + square

    with rf.device("/cpu:0"):
        return rf.while_loop(lambda i, _: i < n, body, [rf.constant(0), rf.constant(0.0)],
                             parallel_iterations=parallel)


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("parallel", [1, 10])
def test_a_loop_runs_over_two_devices(nested, parallel):
    n = rf.placeholder(rf.int32, [])
    i, total = loop("/cpu:1", n, nested, parallel)
    with rf.Session(config=several()) as session:
        for count in (0, 1, 5, 37):
            want = sum(k * k + (sum(k * j for j in range(k)) if nested else 0) for k in range(count))
            got, parts = parts_of(session, [i, total], {n: count})
            assert got == [count, want]
            assert parts == (2 if count == 0 else None)  # None: it has been compiled before


def test_a_loop_over_devices_inside_a_branch_that_is_not_taken():
    p, n = rf.placeholder(rf.bool, []), rf.placeholder(rf.int32, [])
    y = rf.cond(p, lambda: loop("/cpu:1", n)[1], lambda: rf.constant(-1.0))
    with rf.Session(config=several()) as session:
        for _ in range(3):
            assert session.run(y, {p: True, n: 4}) == 14.0
            assert session.run(y, {p: False, n: 4}) == -1.0


def test_an_error_in_a_loop_over_devices_ends_the_run():
    n = rf.placeholder(rf.int32, [])
    table = rf.constant([1.0, 2.0, 3.0])

    def body(i, t):
        with rf.device("/cpu:1"):
            return i + 1, t + rf.gather(table, i, name="pick")

    with rf.device("/cpu:0"):
        y = rf.while_loop(lambda i, t: i < n, body, [rf.constant(0), rf.constant(0.0)])[1]
    with rf.Session(config=several()) as session:
        for _ in range(5):
            assert session.run(y, {n: 3}) == 6.0
            with pytest.raises(InvalidArgumentError, match="pick"):
                session.run(y, {n: 5})


def test_gradients_of_a_loop_over_devices():
    x = rf.placeholder(rf.float32, [])

    def body(i, y):
        with rf.device("/cpu:1"):
            return i + 1, y * x

    with rf.device("/cpu:0"):
        y = rf.while_loop(lambda i, _: i < 5, body, [rf.constant(0), rf.constant(1.0)])[1]
    grad, = rf.gradients(y, [x])
    with rf.Session(config=several()) as session:
        assert session.run([y, grad], {x: 2.0}) == [32.0, 80.0]
