"""Splits and concatenations in the order of memory: which share it, and that nobody sees the sharing."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.opdef import OPS

from .plans import nodes, optimised

pytestmark = pytest.mark.usefixtures("graph")

ROWS = np.arange(6 * 16, dtype=np.float32).reshape(6, 16)


def moved(fetches, feeds):
    """What splits and joins in the plan."""
    return {op.type for op in nodes(optimised(fetches, feeds), "Split", "ConcatV2", "_SplitRows", "_JoinRows")}


@pytest.mark.parametrize("shape, axis, shared", [((6, 16), 0, True), ((6, 16), -2, True), ((1, 6, 16), 1, True),
                                                 ((16, 6), 1, False), ((6, 5), 0, False), ((2, 6, 16), 1, False)])
def test_what_is_split_in_the_order_of_memory_shares_it(shape, axis, shared, session):
    x = rf.placeholder(rf.float32, shape)
    parts = rf.split(x * 2.0, 3, axis)
    assert moved(parts, [x]) == {"_SplitRows" if shared else "Split"}
    value = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for got, want in zip(session.run(parts, {x: value}), np.split(value * 2, 3, axis)):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shapes, axis, shared", [([(2, 16), (3, 16)], 0, True), ([(1, 2, 16), (1, 1, 16)], 1, True),
                                                  ([(2, 16), (2, 3)], 1, False), ([(2, 5), (2, 5)], 0, False)])
def test_what_is_joined_in_the_order_of_memory_is_computed_in_place(shapes, axis, shared, session):
    feeds = [rf.placeholder(rf.float32, s) for s in shapes]
    y = rf.concat([rf.exp(t) for t in feeds], axis)
    assert moved([y], feeds) == {"_JoinRows" if shared else "ConcatV2"}
    arrays = [np.random.default_rng(k).standard_normal(s).astype(np.float32) for k, s in enumerate(shapes)]
    np.testing.assert_allclose(session.run(y, dict(zip(feeds, arrays))),
                               np.concatenate([np.exp(a) for a in arrays], axis), rtol=1e-6)


def test_one_tensor_joined_twice_and_read_afterwards(session):
    x = rf.placeholder(rf.float32, (2, 16))
    y = rf.exp(x)
    twice = rf.concat([y, y, rf.concat([x, y], 0)], 0)
    after = rf.tanh(y) * rf.reduce_max(twice)
    value = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    got, then = session.run([twice, after], {x: value})
    np.testing.assert_allclose(got, np.concatenate([np.exp(value), np.exp(value), value, np.exp(value)]), rtol=1e-6)
    np.testing.assert_allclose(then, np.tanh(np.exp(value)) * np.exp(1.0), rtol=1e-6)


def test_a_part_may_be_overwritten_only_when_nobody_reads_it_again(session):
    x = rf.placeholder(rf.float32, (6, 16))
    whole = rf.matmul(x, rf.constant(np.eye(16, dtype=np.float32)))
    a, b, c = rf.split(whole, 3)
    halves = rf.split(whole, 2)
    changed = [rf.cumsum(t, 1) for t in (rf.exp(a), b, c)]
    results = [*changed, rf.tanh(a), rf.negative(halves[0]), rf.negative(halves[1]), rf.abs(b), whole * 3.0]
    x3 = np.split(ROWS / 100, 3)
    want = [np.cumsum(np.exp(x3[0]), 1), np.cumsum(x3[1], 1), np.cumsum(x3[2], 1), np.tanh(x3[0]), -ROWS[:3] / 100,
            -ROWS[3:] / 100, np.abs(x3[1]), ROWS / 100 * 3]
    for g, w in zip(session.run(results, {x: ROWS / 100}), want):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)


def test_parts_of_a_variable_are_values_that_stay(session):
    v = rf.Variable(ROWS)
    old = rf.split(v, 3)
    reshaped = rf.split(rf.reshape(v.value(), [1, 6, 16]), 3, 1)
    update = v.assign_add(np.ones((6, 16), np.float32))
    with rf.control_dependencies([update]):
        late = [t * 1.0 for t in (*old, *reshaped)]
    session.run(v.initializer)
    *got, _ = session.run([*late, update.op])
    for g, w in zip(got, np.split(ROWS, 3) * 2):
        np.testing.assert_array_equal(g.reshape(2, 16), w)


def test_parts_and_joins_work_for_feeds_of_any_shape(session):
    """After some shapes one executable without them serves all."""
    x = rf.placeholder(rf.float32, [None, 16])
    y = rf.concat([rf.exp(t) for t in rf.split(x * 1.0, 2)], 0)
    for rows in (2, 4, 6, 8, 10, 12, 14, 16, 18, 2, 20):
        value = np.random.default_rng(rows).standard_normal((rows, 16)).astype(np.float32)
        np.testing.assert_allclose(session.run(y, {x: value}), np.exp(value), rtol=1e-6)


def test_rows_in_a_loop(session):
    x = rf.placeholder(rf.float32, (4, 16))

    def step(i, h):
        a, b = rf.split(h, 2)
        return i + 1, rf.concat([rf.tanh(b), a * 0.5], 0)

    y = rf.while_loop(lambda i, h: i < 3, step, [rf.constant(0), x * 1.0])[1]
    value = want = np.linspace(-1, 1, 64, dtype=np.float32).reshape(4, 16)
    for _ in range(3):
        want = np.concatenate([np.tanh(want[2:]), want[:2] * np.float32(0.5)])
    assert moved([y], [x]) == {"_SplitRows", "_JoinRows"}
    np.testing.assert_allclose(session.run(y, {x: value}), want, rtol=1e-6)


def test_a_target_stays():
    x = rf.placeholder(rf.float32, (4, 16))
    split = OPS["Split"](0, x, num_split=2)[0].op
    assert [op.type for op in optimised([], [x], [split]).targets] == ["Split"]
