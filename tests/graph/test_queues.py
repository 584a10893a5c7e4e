"""Queues as TensorFlow 1 has them: what waits, what closing does, and the errors; on both backends."""
import time

import numpy as np
import pytest
import ringflow as rf

from .in_thread import InThread


# ---- the table: what TensorFlow does, line by line
def test_enqueue_after_close_is_cancelled(session):
    q = rf.FIFOQueue(3, rf.float32, shared_name="q")
    session.run(q.close())
    with pytest.raises(rf.errors.CancelledError, match="FIFOQueue 'q' is closed."):
        session.run(q.enqueue(1.0))


def test_dequeue_after_close_drains_and_is_then_out_of_range(session):
    q = rf.FIFOQueue(3, rf.float32, shared_name="q")
    session.run(q.enqueue(1.0))
    session.run(q.close())
    assert session.run(q.dequeue()) == 1
    with pytest.raises(rf.errors.OutOfRangeError, match=r"FIFOQueue 'q' is closed and has insufficient elements "
                                                        r"\(requested 1, current size 0\)"):
        session.run(q.dequeue())


def test_too_few_for_dequeue_many_stay_for_dequeue_up_to(session):
    q = rf.FIFOQueue(10, rf.int32, shapes=[()])
    session.run(q.enqueue_many([[1, 2]]))
    session.run(q.close())
    with pytest.raises(rf.errors.OutOfRangeError, match=r"\(requested 3, current size 2\)"):
        session.run(q.dequeue_many(3))
    assert session.run(q.size()) == 2
    assert session.run(q.dequeue_up_to(3)).tolist() == [1, 2]
    with pytest.raises(rf.errors.OutOfRangeError, match=r"\(requested 3, current size 0\)"):
        session.run(q.dequeue_up_to(3))


def test_closing_with_cancel_ends_blocked_enqueues_and_keeps_elements(session):
    q = rf.FIFOQueue(1, rf.int32)
    enqueue = q.enqueue(5)
    session.run(enqueue)
    blocked = InThread(session, q.enqueue(6))
    assert blocked.waits()
    session.run(q.close(cancel_pending_enqueues=True))
    with pytest.raises(rf.errors.CancelledError, match="Enqueue operation was cancelled"):
        blocked.result()
    assert session.run(q.dequeue()) == 5
    with pytest.raises(rf.errors.OutOfRangeError):
        session.run(q.dequeue())


def test_closing_without_cancel_lets_blocked_enqueues_finish(session):
    q = rf.FIFOQueue(1, rf.int32)
    session.run(q.enqueue(5))
    blocked = InThread(session, q.enqueue(6))
    assert blocked.waits()
    closing = InThread(session, q.close())
    assert closing.waits()
    assert not session.run(q.is_closed())
    assert session.run(q.dequeue()) == 5
    blocked.result()
    closing.result()
    assert session.run(q.is_closed())
    assert session.run(q.dequeue()) == 6


def test_closing_twice_is_cancelled(session):
    q = rf.FIFOQueue(1, rf.int32, shared_name="q")
    session.run(q.close())
    with pytest.raises(rf.errors.CancelledError, match="FIFOQueue 'q' is already closed."):
        session.run(q.close())
    session.run(q.close(cancel_pending_enqueues=True))  # as in TensorFlow, this never fails


@pytest.mark.parametrize("many", [False, True])
def test_timeout_of_a_blocked_dequeue_leaves_the_queue_unchanged(session, many):
    q = rf.FIFOQueue(10, rf.int32, shapes=[()])
    handle, attrs = q.queue_ref, {"component_types": [rf.int32], "timeout_ms": 30}
    graph = session.graph
    if many:
        n = rf.constant(3)
        late = graph.create_op("QueueDequeueManyV2", [handle, n], attrs).outputs[0]
        session.run(q.enqueue_many([[1, 2]]))
    else:
        late = graph.create_op("QueueDequeueV2", [handle], attrs).outputs[0]
    before = time.monotonic()
    with pytest.raises(rf.errors.DeadlineExceededError, match="Dequeue operation has waited for its timeout of 30 ms"):
        session.run(late)
    assert time.monotonic() - before >= 0.03
    assert session.run(q.size()) == (2 if many else 0)
    session.run(q.enqueue(7))
    assert session.run(q.dequeue()) == (1 if many else 7)


def test_timeout_of_a_blocked_enqueue_leaves_the_queue_unchanged(session):
    q = rf.FIFOQueue(1, rf.int32)
    session.run(q.enqueue(1))
    late = session.graph.create_op("QueueEnqueueV2", [q.queue_ref, rf.constant(2)], {"timeout_ms": 30})
    with pytest.raises(rf.errors.DeadlineExceededError, match="Enqueue operation"):
        session.run(late)
    assert session.run([q.dequeue(), q.size()])[0] == 1
    session.run(q.enqueue(3))
    assert session.run(q.dequeue()) == 3


def test_shuffle_queue_keeps_min_after_dequeue_until_closed(session):
    q = rf.RandomShuffleQueue(10, 2, rf.int32, shapes=[()], seed=3)
    session.run(q.enqueue_many([[1, 2, 3, 4]]))
    first = session.run(q.dequeue_many(2)).tolist()
    blocked = InThread(session, q.dequeue_many(2))
    assert blocked.waits()
    session.run(q.enqueue(5))
    assert blocked.waits()  # it has one, and two stay
    session.run(q.close())
    assert sorted(first + blocked.result().tolist() + [session.run(q.dequeue())]) == [1, 2, 3, 4, 5]


# ---- order and waiting
def test_elements_come_out_in_order_with_their_components(session):
    q = rf.FIFOQueue(10, [rf.float32, rf.string], shapes=[[2], []])
    x, s = rf.placeholder(rf.float32, [2]), rf.placeholder(rf.string, [])
    enqueue, dequeue = q.enqueue([x, s]), q.dequeue()
    assert [t.shape.as_list() for t in dequeue] == [[2], []]
    for i in range(3):
        session.run(enqueue, {x: [i, i + 1], s: f"element {i}"})
    value, text = session.run(dequeue)
    assert value.tolist() == [0, 1] and text == b"element 0"
    values, texts = session.run(q.dequeue_many(2))
    assert values.tolist() == [[1, 2], [2, 3]] and list(texts) == [b"element 1", b"element 2"]


def test_a_queue_keeps_copies_of_what_is_fed(session):
    q = rf.FIFOQueue(2, rf.float32)
    x = rf.placeholder(rf.float32, [2])
    fed = np.array([1, 2], np.float32)
    session.run(q.enqueue(x), {x: fed})
    fed[:] = 9
    assert session.run(q.dequeue()).tolist() == [1, 2]


def test_a_queue_keeps_the_value_that_a_variable_had(session):
    v = rf.Variable([1.0, 2.0])
    q = rf.FIFOQueue(-1, rf.float32)
    session.run(v.initializer)
    session.run(q.enqueue(v))
    session.run(q.enqueue(rf.identity(v._ref)))
    session.run(v.assign_add([10.0, 10.0]))
    assert [session.run(q.dequeue()).tolist() for _ in range(2)] == [[1, 2]] * 2


def test_a_queue_keeps_what_a_later_run_computes_again(session):
    q = rf.FIFOQueue(-1, rf.float32)
    x = rf.placeholder(rf.float32, [3])
    enqueue = q.enqueue(rf.exp(x * 0.0) * x)
    for i in range(4):
        session.run(enqueue, {x: [i, i, i]})
    assert [session.run(q.dequeue()).tolist() for _ in range(4)] == [[i] * 3 for i in range(4)]


def test_a_blocked_dequeue_is_served_by_an_enqueue_on_another_thread(session):
    q = rf.FIFOQueue(2, rf.int32)
    blocked = InThread(session, q.dequeue())
    assert blocked.waits()
    session.run(q.enqueue(4))
    assert blocked.result() == 4


def test_dequeue_many_may_ask_for_more_than_the_capacity(session):
    q = rf.FIFOQueue(2, rf.int32, shapes=[()])
    blocked = InThread(session, q.dequeue_many(5))
    session.run(q.enqueue_many([[0, 1, 2]]))
    assert blocked.waits()
    session.run(q.enqueue_many([[3, 4, 5]]))
    assert blocked.result().tolist() == [0, 1, 2, 3, 4]
    assert session.run(q.size()) == 1


def test_enqueue_many_fills_as_room_comes(session):
    q = rf.FIFOQueue(2, rf.int32, shapes=[()])
    blocked = InThread(session, q.enqueue_many([[0, 1, 2, 3, 4]]))
    assert blocked.waits()
    assert session.run(q.size()) == 2
    assert session.run(q.dequeue_many(5)).tolist() == [0, 1, 2, 3, 4]
    blocked.result()


def test_no_capacity_is_no_limit(session):
    q = rf.FIFOQueue(-1, rf.int32, shapes=[()])
    session.run(q.enqueue_many([np.arange(1000)]))
    assert session.run(q.dequeue_many(1000)).tolist() == list(range(1000))


def test_zero_elements_are_an_empty_batch_even_of_a_closed_queue(session):
    q = rf.FIFOQueue(2, [rf.float32, rf.string], shapes=[[3], []])
    session.run(q.close())
    values, texts = session.run(q.dequeue_many(0))
    assert values.shape == (0, 3) and texts.shape == (0,)
    session.run(q.enqueue_many([np.zeros((0, 3)), np.zeros(0, object)]))


# ---- kinds
def test_padding_queue_pads_to_the_largest_of_the_batch(session):
    q = rf.PaddingFIFOQueue(10, [rf.int32, rf.string], shapes=[[None, 2], [None]])
    x, s = rf.placeholder(rf.int32, [None, 2]), rf.placeholder(rf.string, [None])
    enqueue = q.enqueue([x, s])
    for n in (1, 3, 0):
        session.run(enqueue, {x: np.full((n, 2), n), s: [b"a"] * n})
    batch, texts = session.run(q.dequeue_many(3))
    assert batch[:, :, 0].tolist() == [[1, 0, 0], [3, 3, 3], [0, 0, 0]]
    assert texts.tolist() == [[b"a", b"", b""], [b"a"] * 3, [b""] * 3]


def test_priority_queue_gives_the_least_first_and_equals_in_order(session):
    q = rf.PriorityQueue(10, rf.string, shapes=[()])
    session.run(q.enqueue_many([np.array([3, 1, 2, 1]), [b"c", b"a", b"b", b"a2"]]))
    priorities, texts = session.run(q.dequeue_many(3))
    assert priorities.tolist() == [1, 1, 2] and texts.tolist() == [b"a", b"a2", b"b"]
    assert session.run(q.dequeue()) == [3, b"c"]


def test_shuffle_queue_gives_every_order(session):
    q = rf.RandomShuffleQueue(3, 0, rf.int32, shapes=[()], seed=1)
    fill, take = q.enqueue_many([[0, 1, 2]]), q.dequeue_many(3)
    orders = set()
    for _ in range(200):
        session.run(fill)
        orders.add(tuple(session.run(take).tolist()))
    assert len(orders) == 6


def test_named_components_are_dicts(session):
    q = rf.FIFOQueue(4, [rf.float32, rf.int32], shapes=[[], []], names=["value", "index"])
    session.run(q.enqueue({"index": 3, "value": 0.5}))
    session.run(q.enqueue_many({"index": [4], "value": [1.5]}))
    assert session.run(q.dequeue()) == {"index": 3, "value": 0.5}
    assert {k: v.tolist() for k, v in session.run(q.dequeue_many(1)).items()} == {"index": [4], "value": [1.5]}
    with pytest.raises(rf.errors.InvalidArgumentError, match="takes a dict of 'value', 'index'"):
        q.enqueue([0.5, 3])


def test_from_list_chooses_a_queue_when_it_runs(session):
    queues = [rf.FIFOQueue(2, rf.int32, shapes=[()], name=f"q{i}") for i in range(3)]
    which = rf.placeholder(rf.int32, [])
    chosen = rf.QueueBase.from_list(which, queues)
    enqueue = chosen.enqueue(rf.constant(10) + which)
    for i in (2, 0):
        session.run(enqueue, {which: i})
    assert session.run([q.size() for q in queues]) == [1, 0, 1]
    assert session.run(chosen.dequeue(), {which: 2}) == 12
    with pytest.raises(rf.errors.InvalidArgumentError):
        session.run(chosen.size(), {which: 3})


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "int16", "int8", "int64", "bool", "uint16",
                                   "float16", "uint32", "uint64", "bfloat16", "string"])
def test_every_type_of_element_goes_through(session, dtype):
    dtype = rf.as_dtype(dtype)
    q = rf.FIFOQueue(4, dtype, shapes=[[2]])
    x = rf.placeholder(dtype, [2])
    if dtype is rf.string:
        value = np.array([b"a\0b", b""], object)
    elif dtype is rf.bfloat16:
        value = np.array([0x3f80, 0x4000], np.uint16).view(dtype.as_numpy_dtype)
    else:
        value = np.array([0, 1], dtype.as_numpy_dtype)
    enqueue = q.enqueue(x)
    for _ in range(3):
        session.run(enqueue, {x: value})
    assert session.run(q.dequeue()).tolist() == value.tolist()
    assert session.run(q.dequeue_many(2)).tolist() == [value.tolist()] * 2


# ---- resources
def test_a_shared_name_names_one_queue_and_nodes_without_are_private(session):
    a, b = rf.FIFOQueue(4, rf.int32, shared_name="s"), rf.FIFOQueue(4, rf.int32, shared_name="s")
    c, d = rf.FIFOQueue(4, rf.int32), rf.FIFOQueue(4, rf.int32)
    session.run([a.enqueue(1), c.enqueue(2)])
    assert session.run([q.size() for q in (a, b, c, d)]) == [1, 1, 1, 0]
    wrong = rf.FIFOQueue(5, rf.int32, shared_name="s")
    with pytest.raises(rf.errors.InvalidArgumentError, match="has capacity 4 but requested capacity was 5"):
        session.run(wrong.size())
    wrong = rf.FIFOQueue(4, rf.float32, shared_name="s")
    with pytest.raises(rf.errors.InvalidArgumentError, match="has component types int32 but requested"):
        session.run(wrong.size())
    wrong = rf.PaddingFIFOQueue(4, rf.int32, [[]], shared_name="s")
    with pytest.raises(rf.errors.InvalidArgumentError, match="is a FIFOQueue: a PaddingFIFOQueue is requested"):
        session.run(wrong.size())


def test_clearing_a_container_drops_its_queues(session):
    with rf.container("c"):
        a = rf.FIFOQueue(4, rf.int32)
    b = rf.FIFOQueue(4, rf.int32)
    session.run([a.enqueue(1), b.enqueue(2)])
    session.clear("c")
    assert session.run([a.size(), b.size()]) == [0, 1]


# ---- errors
def test_wrong_elements_are_refused_when_built(session):
    q = rf.FIFOQueue(4, [rf.float32, rf.int32], shapes=[[2], []], name="q")
    with pytest.raises(rf.errors.InvalidArgumentError, match="2 components: 1 were given"):
        q.enqueue([1.0])
    with pytest.raises(rf.errors.InvalidArgumentError, match="Shape mismatch in tuple component 0 of queue 'q'"):
        q.enqueue([[1.0, 2.0, 3.0], 1])
    with pytest.raises(rf.errors.InvalidArgumentError, match="it was made without names"):
        q.enqueue({"a": 1})
    with pytest.raises(rf.errors.InvalidArgumentError, match="n must be >= 0: got -1"):
        q.dequeue_many(-1)
    with pytest.raises(rf.errors.InvalidArgumentError, match="min_after_dequeue must lie in"):
        rf.RandomShuffleQueue(4, 4, rf.float32)
    with pytest.raises(rf.errors.InvalidArgumentError, match="the rank of every component must be known"):
        rf.PaddingFIFOQueue(4, [rf.float32], [None])
    with pytest.raises(rf.errors.InvalidArgumentError, match="'shapes' must be empty or one for each"):
        rf.FIFOQueue(4, [rf.float32, rf.int32], shapes=[[2]])


def test_wrong_elements_are_refused_when_run(session):
    q = rf.FIFOQueue(4, rf.float32, shapes=[[2]], name="q")
    x, n = rf.placeholder(rf.float32), rf.placeholder(rf.int32)
    with pytest.raises(rf.errors.InvalidArgumentError, match=r"Shape mismatch in tuple component 0 of queue 'q'. "
                                                             r"Expected \(2,?\), got \(3,\)"):
        session.run(q.enqueue(x), {x: [1, 2, 3]})
    with pytest.raises(rf.errors.InvalidArgumentError, match="must have a first dimension"):
        session.run(q.enqueue_many(x), {x: 1})
    with pytest.raises(rf.errors.InvalidArgumentError, match="n must be >= 0: got -2"):
        session.run(q.dequeue_many(n), {n: -2})
    pair = rf.FIFOQueue(4, [rf.float32, rf.float32])
    with pytest.raises(rf.errors.InvalidArgumentError, match="same size in the first dimension: got 2(,| and) 3"):
        session.run(pair.enqueue_many([x, [1.0, 2.0, 3.0]]), {x: [1, 2]})
    with pytest.raises(rf.errors.InvalidArgumentError, match="require the components to have specified shapes"):
        session.run(pair.dequeue_many(2))
    assert session.run([q.size(), pair.size()]) == [0, 0]
