"""Accumulators, mutexes and critical sections, on both backends."""
import threading

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import ops

from .test_queues import InThread


# ---- accumulators
def test_taking_gives_the_mean_of_all_that_came_and_starts_anew(session):
    a = rf.ConditionalAccumulator(rf.float32, shape=[2])
    g = rf.placeholder(rf.float32, [2])
    push, take = a.apply_grad(g), a.take_grad(2)
    for k in range(3):
        session.run(push, {g: [k, 10 * k]})
    assert session.run(a.num_accumulated()) == 3
    assert session.run(take).tolist() == [1, 10]  # of three, where two were asked for
    assert session.run(a.num_accumulated()) == 0


def test_taking_waits_for_enough_gradients_from_other_threads(session):
    a = rf.ConditionalAccumulator(rf.float64, shape=[], reduction_type="SUM")
    g = rf.placeholder(rf.float64, [])
    push = a.apply_grad(g, local_step=0)
    taker = InThread(session, a.take_grad(3))
    for k in (1, 2):
        session.run(push, {g: k})
    assert taker.waits()
    session.run(push, {g: 4})
    assert taker.result() == 7


def test_gradients_of_earlier_steps_are_dropped(session):
    a = rf.ConditionalAccumulator(rf.float32, shape=[])
    step = rf.placeholder(rf.int64, [])
    push, count = a.apply_grad(1.0, local_step=step), a.num_accumulated()
    session.run(a.set_global_step(5))
    session.run(push, {step: 4})
    assert session.run(count) == 0
    session.run(push, {step: 5})
    assert session.run(count) == 1
    session.run(a.take_grad(1))  # the accumulator is at step 6
    session.run(push, {step: 5})
    assert session.run(count) == 0
    session.run(push, {step: 6})
    assert session.run(count) == 1


def test_wrong_gradients_are_refused_and_change_nothing(session):
    a = rf.ConditionalAccumulator(rf.float32, shape=None, name="a")
    g = rf.placeholder(rf.float32)
    push = a.apply_grad(g)
    session.run(push, {g: [1, 2, 3]})
    with pytest.raises(rf.errors.InvalidArgumentError, match="Shape mismatch: accumulator 'a' expected"):
        session.run(push, {g: [1, 2]})
    assert session.run(a.num_accumulated()) == 1
    with pytest.raises(rf.errors.InvalidArgumentError, match="num_required must be positive, but was 0"):
        session.run(a.take_grad(0))
    with pytest.raises(rf.errors.InvalidArgumentError, match="sums gradients of shape"):
        rf.ConditionalAccumulator(rf.float32, shape=[2]).apply_grad([1.0, 2.0, 3.0])
    with pytest.raises(rf.errors.InvalidArgumentError, match="must be one of MEAN, SUM"):
        rf.ConditionalAccumulator(rf.float32, reduction_type="MAX")


@pytest.mark.parametrize("reduction", ["MEAN", "SUM"])
def test_sparse_gradients_are_united_by_row(session, reduction):
    a = rf.SparseConditionalAccumulator(rf.float32, shape=[None, 2], reduction_type=reduction)
    i, v = rf.placeholder(rf.int64, [None]), rf.placeholder(rf.float32, [None, 2])
    push = a.apply_indexed_slices_grad(rf.IndexedSlices(v, i))
    session.run(push, {i: [3, 0], v: [[2, 2], [1, 1]]})
    session.run(push, {i: [3, 4], v: [[4, 4], [8, 8]]})
    taken = a.take_indexed_slices_grad(2)
    indices, values, shape = session.run([taken.indices, taken.values, taken.dense_shape])
    three = 3 if reduction == "MEAN" else 6
    assert indices.tolist() == [0, 3, 4] and shape.tolist() == [-1, 2]
    assert values[:, 0].tolist() == [1, three, 8]


def test_rows_that_one_gradient_has_twice_are_summed_and_count_once(session):
    a = rf.SparseConditionalAccumulator(rf.float32, shape=[5, 1])
    session.run(a.apply_grad([2, 2], [[1.0], [2.0]], [5, 1]))
    session.run(a.apply_grad([2], [[5.0]]))
    indices, values, shape = session.run(a.take_grad(1))
    assert indices.tolist() == [2] and values.tolist() == [[4.0]] and shape.tolist() == [5, 1]


@pytest.mark.parametrize("indices, values, shape, text", [
    ([7], [[1.0, 1.0]], None, "index 7 is out of range"), ([-1], [[1.0, 1.0]], None, "index -1 is out of range"),
    ([1], [[1.0]], None, "expected rows of shape"), ([1, 2], [[1.0, 1.0]], None, "2 rows, one for each index"),
    ([1], [[1.0, 1.0]], [5, 3], "gradient_shape"), ([1], [[1.0, 1.0]], [6, 2], "gradient_shape"),
    ([[1]], [[1.0, 1.0]], None, "Input indices should be vector"),
])
def test_wrong_sparse_gradients_are_refused(session, indices, values, shape, text):
    a = rf.SparseConditionalAccumulator(rf.float32, shape=[5, 2])
    i, v = rf.placeholder(rf.int64), rf.placeholder(rf.float32)
    with pytest.raises(rf.errors.InvalidArgumentError, match=text):
        session.run(a.apply_grad(i, v, shape), {i: indices, v: values})
    assert session.run(a.num_accumulated()) == 0


def test_synchronous_steps_of_several_workers_meet_in_an_accumulator(session):
    """Each worker pushes its gradient; one takes the mean, updates, and gives each a token for the next step. (From one
    queue for all, a fast worker would take two, and its second gradient would stand for that of a slow one.)"""
    workers, steps = 3, 10
    v = rf.Variable(0.0)
    a = rf.ConditionalAccumulator(rf.float32, shape=[])
    tokens = [rf.FIFOQueue(-1, rf.int64, shapes=[()]) for _ in range(workers)]
    g, step = rf.placeholder(rf.float32, []), rf.placeholder(rf.int64, [])
    push, token = a.apply_grad(g, local_step=step), [q.dequeue() for q in tokens]
    with rf.control_dependencies([v.assign_add(a.take_grad(workers))]):
        update = rf.group(*[q.enqueue(step + 1) for q in tokens])
    session.run(v.initializer)

    def work(number):
        at = 0
        for _ in range(steps):
            session.run(push, {g: number, step: at})
            at = session.run(token[number])

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(workers)]
    for t in threads:
        t.start()
    for k in range(steps):
        session.run(update, {step: k})
    for t in threads:
        t.join(30)
        assert not t.is_alive()
    assert session.run(v) == steps * 1.0


# ---- barriers
class Barrier:
    """The ops on a barrier of a float and an int, fed by keys."""

    def __init__(self, session):
        self._session, graph = session, session.graph
        shapes = [rf.TensorShape([])] * 2
        self.handle = ops.barrier.barrier(component_types=[rf.float32, rf.int32], shapes=shapes, name="b")
        self._keys, self._f, self._i = (rf.placeholder(d, [None]) for d in (rf.string, rf.float32, rf.int32))
        self._inserts = [ops.barrier.insert_many(self.handle, self._keys, x, component_index=k)
                         for k, x in enumerate((self._f, self._i))]
        self.sizes = [ops.barrier.ready_size(self.handle), ops.barrier.incomplete_size(self.handle)]
        assert graph is self.handle.graph

    def insert(self, component, **values):
        x = (self._f, self._i)[component]
        self._session.run(self._inserts[component], {self._keys: list(values), x: list(values.values())})

    def take(self, n, **attrs):
        indices, keys, floats, ints = ops.barrier.take_many(self.handle, n, component_types=[rf.float32, rf.int32],
                                                            **attrs)
        return [keys, floats, ints]

    def close(self, cancel=False):
        self._session.run(ops.barrier.close(self.handle, cancel_pending_enqueues=cancel))


def test_elements_of_a_barrier_are_taken_when_whole_in_the_order_of_their_keys(session):
    b = Barrier(session)
    b.insert(0, x=1, y=2, z=3)
    b.insert(1, z=30)
    taker = InThread(session, b.take(2))
    assert taker.waits() and session.run(b.sizes) == [1, 2]
    b.insert(1, x=10)
    keys, floats, ints = taker.result()
    assert keys.tolist() == [b"x", b"z"] and floats.tolist() == [1, 3] and ints.tolist() == [10, 30]
    b.insert(0, x=5)  # a key that was taken begins anew
    assert session.run(b.sizes) == [0, 2]
    with pytest.raises(rf.errors.InvalidArgumentError, match="Key y already has a value for component 0"):
        b.insert(0, w=1, y=2)
    assert session.run(b.sizes) == [0, 2]  # what fails changes nothing
    with pytest.raises(rf.errors.DeadlineExceededError):
        session.run(b.take(1, timeout_ms=20))


def test_a_closed_barrier_takes_what_completes_elements_and_no_new_key(session):
    b = Barrier(session)
    b.insert(0, x=1, y=2)
    b.close()
    with pytest.raises(rf.errors.CancelledError, match="attempted to insert a brand new key: w"):
        b.insert(1, w=1)
    with pytest.raises(rf.errors.CancelledError, match="already closed"):
        b.close()
    small = InThread(session, b.take(3, allow_small_batch=True, wait_for_incomplete=True))
    b.insert(1, x=10)
    assert small.waits()
    b.insert(1, y=20)
    assert small.result()[0].tolist() == [b"x", b"y"]
    with pytest.raises(rf.errors.OutOfRangeError, match=r"Barrier 'b' is closed and has insufficient elements "
                                                        r"\(requested 1, total size 0\)"):
        session.run(b.take(1))


def test_closing_a_barrier_with_cancel_drops_what_has_begun(session):
    b = Barrier(session)
    b.insert(0, x=1, y=2)
    b.insert(1, x=10)
    blocked = InThread(session, b.take(2))
    assert blocked.waits()
    b.close(cancel=True)
    with pytest.raises(rf.errors.OutOfRangeError, match="requested 2, total size 1"):
        blocked.result()
    assert session.run(b.sizes) == [1, 0]
    with pytest.raises(rf.errors.CancelledError):
        b.insert(1, y=3)
    assert session.run(b.take(2, allow_small_batch=True))[0].tolist() == [b"x"]


# ---- mutexes
def test_a_critical_section_keeps_read_and_write_together(session):
    v = rf.Variable(0, name="v")
    section = rf.CriticalSection(name="section")

    def bump():
        value = rf.identity(v.read_value() if hasattr(v, "read_value") else v)
        return v.assign(value + 1)

    once = section.execute(bump)
    session.run(v.initializer)
    runs = 40
    threads = [threading.Thread(target=lambda: [session.run(once) for _ in range(runs)], daemon=True) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
        assert not t.is_alive()
    assert session.run(v) == 4 * runs


def test_sections_of_one_mutex_in_one_run_follow_one_another(session):
    v = rf.Variable(1.0)
    section = rf.CriticalSection()
    values = [section.execute(lambda k=k: v.assign(v * 2.0 + k)) for k in range(4)]
    session.run(v.initializer)
    assert InThread(session, values[::-1]).result()[0] == session.run(v)


def test_a_lock_is_released_when_its_run_fails(session):
    section = rf.CriticalSection()
    bad = section.execute(lambda: rf.check_numerics(rf.log(rf.constant(-1.0)), "no number"))
    good = section.execute(lambda: rf.constant(3.0) + 1.0)
    for _ in range(2):
        with pytest.raises(rf.errors.InvalidArgumentError, match="no number"):
            InThread(session, bad).result()
    assert InThread(session, good).result() == 4


def test_structures_pass_through_a_section(session):
    section = rf.CriticalSection()
    made = section.execute(lambda: {"a": rf.constant(1.0), "b": (rf.constant(2), rf.no_op())})
    value = session.run(made)
    assert value["a"] == 1 and value["b"] == (2, None)


def test_a_mutex_survives_the_wire(session):
    section = rf.CriticalSection(name="m")
    section.execute(lambda: rf.constant(5.0), name="five")
    data = session.graph.as_graph_def().SerializeToString()
    with rf.Graph().as_default() as graph, rf.Session(graph=graph) as other:
        rf.import_graph_def(data, name="")
        out = [op.outputs[0] for op in graph.get_operations() if op.type == "Identity"][-1]
        assert other.run(out) == 5
    np.testing.assert_equal(session.run(rf.constant(1)), 1)
