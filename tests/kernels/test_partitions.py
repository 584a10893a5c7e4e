"""Several CPU devices in one process: the same bits as on one, errors, cancellation, threads, measured placement."""
import random
import threading
import time

import numpy as np
import pytest

pytest.importorskip("ringflow._core")

import ringflow as rf
from hypothesis import HealthCheck, given, settings, strategies as st
from ringflow.graph.errors import CancelledError, DeadlineExceededError, InvalidArgumentError

from tests.graph.random_graphs import random_graph


@pytest.fixture(autouse=True)
def graph():
    with rf.Graph().as_default() as g:
        yield g


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
    begin = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        session.run(y, options=rf.RunOptions(timeout_in_ms=100))
    assert time.monotonic() - begin < 5
    ended = []

    def wait():
        try:
            session.run(y)
        except BaseException as e:  # looked at below
            ended.append(e)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    session.close()
    thread.join(5)
    assert len(ended) == 1 and isinstance(ended[0], CancelledError)


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
    from ringflow.graph.graph import Graph
    from ringflow.graph.wire import to_graph_def

    alone = Graph()
    attrs = {"tensor_type": rf.float32, "tensor_name": "t", "send_device": "a", "recv_device": "b",
             "send_device_incarnation": 1}
    alone.create_op("_Recv", [], attrs)
    data = to_graph_def(alone, annotate=True).SerializeToString()
    with pytest.raises(_core.Error, match="nobody to exchange tensors with"):
        _core.Executable(data, _core.Resources()).run([])
