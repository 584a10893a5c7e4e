"""Graphs with control flow and with queues in the compiled runtime: what ends a run, what a long run leaves behind."""
import os
import resource
import signal
import threading
import time

import numpy as np
import pytest
import ringflow as rf
from ringflow import _core
from ringflow.graph.errors import DeadlineExceededError
from ringflow.graph.proto import graph_pb2 as pb

from tests.graph.in_thread import sleeps

FLOAT, RESOURCE = 1, 20


def waiting_graph():
    """A dequeue from an empty queue, fetched."""
    graph = pb.GraphDef()
    queue = graph.node.add(name="q", op="FIFOQueueV2")
    get = graph.node.add(name="get", op="QueueDequeueV2", input=["q"])
    for node in queue, get:
        node.attr["component_types"].list.type.append(FLOAT)
    queue.attr["capacity"].i = -1
    get.attr["timeout_ms"].i = -1
    for node, dtype in (queue, RESOURCE), (get, FLOAT):
        node.attr["_output_dtypes"].list.type.append(dtype)
    graph.node.add(name="r", op="_Retval", input=["get"]).attr["T"].type = FLOAT
    graph.node[-1].attr["index"].i = 0
    return _core.Executable(graph.SerializeToString(), _core.Resources())


def test_a_timeout_names_the_node_that_waits():
    e = waiting_graph()
    for _ in range(2):  # the executable stays usable
        start = time.monotonic()
        with pytest.raises(_core.Error, match=r"within 50 ms: these wait: 'get' \(QueueDequeueV2\)") as caught:
            e.run([], timeout_ms=50)
        assert caught.value.code == 4 and caught.value.node == "get"
        assert time.monotonic() - start >= 0.05


def test_a_run_is_cancelled_by_another_thread():
    e, cancellation = waiting_graph(), _core.Cancellation()
    threading.Timer(0.05, cancellation.cancel).start()
    with pytest.raises(_core.Error, match="the run was cancelled") as caught:
        e.run([], cancellation=cancellation)
    assert caught.value.code == 1 and cancellation.cancelled()


def interrupt_when_asleep():
    """Ctrl-C for the main thread, once it sleeps."""
    main = threading.main_thread()
    threading.Thread(target=lambda: sleeps(main) and os.kill(os.getpid(), signal.SIGINT), daemon=True).start()


def test_ctrl_c_ends_a_run_that_waits():
    e = waiting_graph()
    with pytest.raises(KeyboardInterrupt):
        interrupt_when_asleep()
        e.run([], timeout_ms=60_000)
    with pytest.raises(_core.Error, match="has not ended"):
        e.run([], timeout_ms=20)


def test_ctrl_c_ends_a_loop_that_does_not_end():
    forever = rf.while_loop(lambda i: i < 2.0, lambda i: i * 0.5, [rf.constant(1.0)])
    with rf.Session() as session:
        with pytest.raises(DeadlineExceededError):
            session.run(forever, options=rf.RunOptions(timeout_in_ms=1))  # it is planned now
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            session.run(forever)
        assert session.run(rf.constant(3.0) * 2) == 6


def test_threads_run_one_graph_while_another_waits_in_it():
    queue = rf.FIFOQueue(10, [rf.float32], [[]])
    x, wait = rf.placeholder(rf.float32, []), rf.placeholder(rf.bool, [])
    y = rf.cond(wait, queue.dequeue, lambda: x * 2)
    put = queue.enqueue([x])
    got = []
    with rf.Session() as session:
        waiting = [threading.Thread(target=lambda: got.append(session.run(y, {x: 0.0, wait: True}))) for _ in range(3)]
        for thread in waiting:
            thread.start()
        for k in range(50):
            assert session.run(y, {x: float(k), wait: False}) == 2 * k
        assert not got
        for k in range(3):
            session.run(put, {x: float(k)})
        for thread in waiting:
            thread.join(60)
    assert sorted(got) == [0, 1, 2]


@pytest.mark.parametrize("threads", [1, 3])
def test_helpers_compute_the_same(threads):
    x = rf.placeholder(rf.float32, [64, 64])
    _, total = rf.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, rf.matmul(s, x) + rf.matmul(x, s)),
                             [rf.constant(0), x])
    value = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) / 16
    expected = value
    for _ in range(5):
        expected = expected @ value + value @ expected
    with rf.Session(config=rf.ConfigProto(inter_op_parallelism_threads=threads)) as session:
        for _ in range(20):
            np.testing.assert_allclose(session.run(total, {x: value}), expected, rtol=1e-4, atol=1e-5)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_long_loop_needs_no_more_memory_than_a_short_one():
    n = rf.placeholder(rf.int32, [])
    x = rf.zeros([4096])
    _, y = rf.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s + 1.0), [rf.constant(0), x])
    with rf.Session() as session:
        session.run(y, {n: 100})
        before = peak_bytes()
        np.testing.assert_array_equal(session.run(y, {n: 100_000}), 100_000)
    assert peak_bytes() - before < 4 << 20  # one array for each iteration would be 1.6 GB


@pytest.mark.slow
def test_100_000_steps_with_queues_and_loops_leak_nothing():
    queue = rf.FIFOQueue(10, [rf.float32], [[256]])
    x = rf.placeholder(rf.float32, [256])
    put = queue.enqueue([x])
    _, y = rf.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, s * 2.0), [rf.constant(0), queue.dequeue()])
    value = np.ones(256, np.float32)
    with rf.Session() as session:
        for step in range(102_000):
            if step == 2000:
                before = peak_bytes()
            session.run(put, {x: value})
            result = session.run(y)
        np.testing.assert_array_equal(result, 8)
    assert peak_bytes() - before < 4 << 20  # 41 bytes a step
