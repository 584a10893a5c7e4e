"""Queues and runs: many threads, several operations of one run, and what ends a run from outside; on both backends."""
import resource
import threading

import numpy as np
import pytest
import ringflow as rf

from .in_thread import InThread


# ---- threads
def test_eight_producers_and_eight_consumers_lose_and_double_nothing(session):
    q = rf.FIFOQueue(5, [rf.int32, rf.int32], shapes=[[], []])
    p, i = rf.placeholder(rf.int32, []), rf.placeholder(rf.int32, [])
    enqueue, dequeue, pairs = q.enqueue([p, i]), q.dequeue(), q.dequeue_many(2)
    each, got, lock = 60, [], threading.Lock()

    def produce(number):
        for k in range(each):
            session.run(enqueue, {p: number, i: k})

    def consume(number):
        mine = []
        try:
            while True:
                if number % 2:
                    mine.append(tuple(session.run(dequeue)))
                else:
                    mine.extend(zip(*session.run(pairs)))
        except rf.errors.OutOfRangeError:
            with lock:
                got.append([(int(a), int(b)) for a, b in mine])

    producers = [threading.Thread(target=produce, args=(n,), daemon=True) for n in range(8)]
    consumers = [threading.Thread(target=consume, args=(n,), daemon=True) for n in range(8)]
    for t in producers + consumers:
        t.start()
    for t in producers:
        t.join(30)
    session.run(q.close())
    for t in consumers:
        t.join(30)
    assert len(got) == 8
    left = []
    while session.run(q.size()):
        left.append(tuple(map(int, session.run(dequeue))))
    everything = sorted(sum(got, left))
    assert everything == sorted((n, k) for n in range(8) for k in range(each))
    for mine in got:  # a consumer sees each producer's elements in order
        for n in range(8):
            assert [k for m, k in mine if m == n] == sorted(k for m, k in mine if m == n)


# ---- within one run
def test_operations_of_one_run_serve_each_other(session):
    q = rf.FIFOQueue(1, rf.int32, shapes=[()])
    dequeue = q.dequeue()  # made before what it waits for
    assert session.run([dequeue, q.enqueue(3)])[0] == 3
    session.run(q.enqueue(1))
    assert session.run([q.enqueue(2), dequeue])[1] == 1
    assert session.run(dequeue) == 2


def test_fusing_elementwise_ops_makes_nothing_wait_for_itself(session):
    q = rf.FIFOQueue(1, rf.float32, shapes=[[1000]])
    x = rf.placeholder(rf.float32, [1000])
    doubled = x * 2.0 + 1.0
    out = rf.exp(doubled) + q.dequeue()
    fed = np.linspace(0, 1, 1000)
    value, _ = InThread(session, [out, q.enqueue(doubled)], {x: fed}).result()
    np.testing.assert_allclose(value, np.exp(2 * fed + 1) + 2 * fed + 1, rtol=1e-5)


def test_a_failing_operation_ends_those_of_its_run_that_wait(session):
    q = rf.FIFOQueue(2, rf.int32)
    bad = rf.check_numerics(rf.log(rf.constant(-1.0)), "no number")
    with pytest.raises(rf.errors.InvalidArgumentError, match="no number"):
        session.run([q.dequeue(), bad])
    session.run(q.enqueue(5))  # nobody is left who would take it
    assert session.run(q.size()) == 1


# ---- what ends a run from outside
def test_closing_the_session_cancels_what_waits_on_other_threads(session):
    q, full = rf.FIFOQueue(1, rf.int32), rf.FIFOQueue(1, rf.int32, shared_name="full")
    session.run(full.enqueue(1))
    waiting = [InThread(session, q.dequeue()), InThread(session, full.enqueue(2)), InThread(session, q.dequeue())]
    assert all(t.waits() for t in waiting)
    session.close()
    for t in waiting:
        with pytest.raises(rf.errors.CancelledError):
            t.result()


def test_the_timeout_of_a_run_leaves_the_queue_unchanged(session):
    q = rf.FIFOQueue(10, rf.int32, shapes=[()])
    session.run(q.enqueue_many([[1, 2]]))
    with pytest.raises(rf.errors.DeadlineExceededError):
        session.run(q.dequeue_many(3), options=rf.RunOptions(timeout_in_ms=50))
    assert session.run(q.size()) == 2
    session.run(q.enqueue(3))
    assert session.run(q.dequeue_many(3)).tolist() == [1, 2, 3]


@pytest.mark.slow
def test_a_hundred_thousand_steps_leave_the_memory_as_it_was():
    def resident_bytes():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    with rf.Graph().as_default() as graph, rf.Session(graph=graph) as session:
        q = rf.FIFOQueue(8, [rf.float32, rf.string], shapes=[[256], []])
        x, t = rf.placeholder(rf.float32, [256]), rf.placeholder(rf.string, [])
        enqueue, dequeue = session.make_callable(q.enqueue([x * 2.0, t]), [x, t]), session.make_callable(q.dequeue())
        dequeue_two = session.make_callable(q.dequeue_many(2))
        value, text = np.ones(256, np.float32), np.array(b"a string too long to lie in place", object)
        for step in range(100_001):
            enqueue(value, text)
            enqueue(value, text)
            if step % 2:
                dequeue_two()
            else:
                dequeue()
                dequeue()
            if step == 1000:
                before = resident_bytes()
        grown = resident_bytes() - before
    print(f"grew {grown / 1024:.0f} KiB")
    assert grown < 2 << 20


def test_a_run_that_waits_for_runners_nobody_started_says_so(session):
    queue = rf.FIFOQueue(2, [rf.float32])
    with pytest.raises(rf.errors.DeadlineExceededError, match="QueueDequeueV2.*start_queue_runners"):
        session.run(queue.dequeue(), options=rf.RunOptions(timeout_in_ms=50))


def test_an_epoch_count_without_a_value_points_to_the_local_initializer(session):
    epochs = rf.train.limit_epochs(rf.constant([1.0]), num_epochs=1)
    with pytest.raises(rf.errors.FailedPreconditionError, match=r"rf.local_variables_initializer\(\)"):
        session.run(epochs)
