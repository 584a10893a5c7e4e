"""Gradients in 16 bits: what is lost is sent later, sums of many ranks do not overflow, training converges."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import loopback
from ringflow.collectives.ops import collective_reduce, next_keys
from ringflow.graph.session import BACKENDS

WIRES = {"bfloat16 nearest": 2.0**-9, "bfloat16 truncate": 2.0**-8, "float16 nearest": 2.0**-11}  # largest error
both = pytest.mark.parametrize("backend", sorted(BACKENDS))
each = pytest.mark.parametrize("wire", WIRES)


def reduced(world, wire, values, steps, backend, dtype=np.float32):
    """What `steps` reductions of this rank's `values` give."""
    with rf.Graph().as_default() as graph, rf.Session(backend=backend) as session:
        x = rf.placeholder(dtype, values.shape)
        mean = collective_reduce(x, merge_op="Add", final_op="Div", communication_hint=wire,
                                 **next_keys(graph, world.size))
        return [session.run(mean, {x: values}) for _ in range(steps)]


@both
@each
@pytest.mark.parametrize("algorithm", ["one_pass", "ring"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_is_right_to_its_rounding(wire, backend, algorithm, dtype):
    def body(world):
        rng = np.random.default_rng(world.rank)
        values = rng.standard_normal(1000).astype(dtype)
        (got,) = reduced(world, wire, values, 1, backend, dtype)
        return values, got

    results = loopback.run(3, body, algorithm=algorithm)
    wanted = np.mean([v for v, _ in results], axis=0)
    for _, got in results:
        np.testing.assert_array_equal(got, results[0][1])
        np.testing.assert_allclose(got, wanted, atol=10 * WIRES[wire])
    assert got.dtype == dtype and not np.array_equal(got, wanted)


@both
@each
def test_what_rounding_loses_is_sent_later(wire, backend):
    steps = 400
    values = np.float32([1 / 3, 0.7, 1.2345, 1e-3])

    def body(world):  # the ranks all but cancel: what is left is smaller than the rounding of either
        mine = values if world.rank == 0 else -values * np.float32(0.9995)
        return np.mean(reduced(world, wire, mine, steps, backend), axis=0)

    got, left = loopback.run(2, body)[0], values * 0.0005 / 2
    # two residuals that never went out, and the rounding of each sum; one step alone is off by half of `values` * error
    np.testing.assert_allclose(got, left, atol=2 * WIRES[wire] / steps, rtol=2 * WIRES[wire])


@both
def test_many_large_values_do_not_overflow_half_precision(backend):
    def body(world):
        return reduced(world, "float16 nearest", np.full(70, 60000, np.float32), 1, backend)[0]

    for got in loopback.run(4, body):
        np.testing.assert_allclose(got, 60000, rtol=1e-3)


@both
def test_an_overflow_leaves_no_trace(backend):
    def body(world):
        with rf.Graph().as_default() as graph, rf.Session(backend=backend) as session:
            x = rf.placeholder(rf.float32, [3])
            mean = collective_reduce(x, merge_op="Add", final_op="Div", communication_hint="float16 nearest",
                                     **next_keys(graph, world.size))
            return [session.run(mean, {x: v}) for v in ([1, np.nan, 1e9], [1, 2, 3])]

    for first, second in loopback.run(2, body):
        assert first[0] == 1 and not np.isfinite(first[1:]).any()
        np.testing.assert_array_equal(second, [1, 2, 3])


def final_loss(world, optimizer, steps, **options):
    rng = np.random.default_rng(5)
    inputs = rng.standard_normal((64, 8)).astype(np.float32)
    labels = np.tanh(inputs @ rng.standard_normal((8, 1))).astype(np.float32)
    with rf.Graph().as_default(), rf.Session() as session:
        x, y = rf.placeholder(rf.float32, [None, 8]), rf.placeholder(rf.float32, [None, 1])
        start = np.random.default_rng(6)
        w1 = rf.Variable(start.standard_normal((8, 16)).astype(np.float32) * 0.3)
        w2 = rf.Variable(start.standard_normal((16, 1)).astype(np.float32) * 0.3)
        loss = rf.reduce_mean(rf.square(rf.matmul(rf.tanh(rf.matmul(x, w1)), w2) - y))
        train_op = rf.distribute(optimizer().minimize(loss), **options)
        session.run(rf.global_variables_initializer())
        part = slice(world.rank * 64 // world.size, (world.rank + 1) * 64 // world.size)
        for _ in range(steps):
            session.run(train_op, {x: inputs[part], y: labels[part]})
        return session.run(loss, {x: inputs, y: labels})


@pytest.mark.parametrize("optimizer", [lambda: rf.train.MomentumOptimizer(0.05, 0.9),
                                       lambda: rf.train.AdamOptimizer(0.01)])
@pytest.mark.parametrize("options", [{"wire_dtype": "bfloat16"}, {"wire_dtype": "bfloat16", "rounding": "truncate"},
                                     {"wire_dtype": "float16", "loss_scale": 64.0, "clip_norm": 100.0}])
def test_training_converges_as_with_32_bits(optimizer, options):
    plain = loopback.run(2, lambda w: final_loss(w, optimizer, 300))
    narrow = loopback.run(2, lambda w: final_loss(w, optimizer, 300, **options))
    assert narrow[0] == narrow[1]
    assert narrow[0] < 1.3 * plain[0] + 1e-4 and plain[0] < 0.01


def test_plan_shows_half_the_bytes_and_a_lane_in_full_precision():
    def body(world):
        with rf.Graph().as_default(), rf.Session() as session:
            w = rf.Variable(np.zeros(500, np.float32), name="w")
            loss = rf.reduce_sum(rf.square(w))
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss), wire_dtype="bfloat16",
                                     metrics={"loss": loss})
            return rf.collectives.describe(session, train_op)

    rows = [line.split() for line in loopback.run(2, body)[0].splitlines()[2:4]]
    assert [(row[1], row[-1]) for row in rows] == [("28", "allreduce/lane"), ("1000", "allreduce/w")]
