"""Sparse gradients over ranks: they train as one rank does, dense or gathered, and the cheaper way is chosen."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import loopback
from ringflow.collectives.sparse import Cost
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.session import BACKENDS

OPTIMIZERS = {
    "sgd": lambda: rf.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: rf.train.MomentumOptimizer(0.05, 0.9),
    "adagrad": lambda: rf.train.AdagradOptimizer(0.1),
    "adam": lambda: rf.train.AdamOptimizer(0.01),
}
BATCH, BAG, ROWS, STEPS = 12, 3, 11, 10


def model(batch, rows):
    """The mean over a bag of rows, and a second look-up of single rows: both kinds of sparse gradient."""
    x, y = rf.placeholder(rf.int32, [batch, BAG], name="x"), rf.placeholder(rf.float32, [batch, 1], name="y")
    rng = np.random.default_rng(0)
    table = rf.Variable(rng.standard_normal((rows, 4)).astype(np.float32), name="table")
    other = rf.Variable(rng.standard_normal((rows, 4)).astype(np.float32), name="other")
    w = rf.Variable(rng.standard_normal((4, 1)).astype(np.float32), name="w")
    h = rf.reduce_mean(rf.gather(table, x), 1) * rf.gather(other, x[:, 0])
    return x, y, rf.reduce_mean(rf.square(rf.matmul(h, w) - y))


def train(world, optimizer, choice, static, backend=None, rows=ROWS):
    with rf.Graph().as_default() as graph:
        x, y, loss = model(BATCH // world.size if static else None, rows)
        train_op = rf.distribute(OPTIMIZERS[optimizer]().minimize(loss), sparse=choice)
        part = slice(world.rank * BATCH // world.size, (world.rank + 1) * BATCH // world.size)
        with rf.Session(backend=backend) as session:
            session.run(rf.global_variables_initializer())
            for k in range(STEPS):
                rng = np.random.default_rng(k)  # 36 indices into 11 rows: repeats within ranks and between them
                data, labels = rng.integers(0, ROWS - 2, (BATCH, BAG)), rng.standard_normal((BATCH, 1))
                session.run(train_op, {x: data[part], y: labels[part]})
            types = [op.type for op in graph.get_operations()]
            return {v.op.name: session.run(v) for v in rf.global_variables()}, types


@pytest.mark.parametrize("static", [True, False], ids=["static", "any batch"])
@pytest.mark.parametrize("choice", ["gather", "dense", "auto"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ranks_train_as_one_rank_with_rows_that_repeat_between_them(optimizer, choice, static):
    (alone, _), = loopback.run(1, lambda world: train(world, optimizer, choice, static))
    for size in (2, 3):
        for of_rank, _ in loopback.run(size, lambda world: train(world, optimizer, choice, static)):
            assert of_rank.keys() == alone.keys()
            for name, value in alone.items():
                np.testing.assert_allclose(of_rank[name], value, rtol=1e-6, atol=1e-6, err_msg=f"{size} ranks, {name}")


@pytest.mark.parametrize("choice", ["gather", "dense"])
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_backend_exchanges_alike(backend, choice):
    (alone, _), = loopback.run(1, lambda world: train(world, "momentum", choice, True, backend))
    for of_rank, _ in loopback.run(2, lambda world: train(world, "momentum", choice, True, backend)):
        for name, value in alone.items():
            np.testing.assert_allclose(of_rank[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_ranks_hold_the_same_bits():
    first, second = loopback.run(2, lambda world: train(world, "adam", "auto", True)[0])
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)


def test_auto_sends_dense_what_names_most_of_a_table():
    def types(rows):
        return loopback.run(2, lambda world: train(world, "sgd", "auto", True, rows=rows)[1])[0]

    small = types(ROWS)  # 18 indices a rank into 11 rows of `table`, 6 into `other`
    assert small.count("CollectiveGather") == 2 and "_RepeatRows" not in small
    large = types(100_000)
    assert large.count("CollectiveGather") == 4
    assert "_RepeatRows" in large, "a bag's gradient travels once, not once for each index"
    assert "Unique" not in large, "repeats are too unlikely to look for"


def test_momentum_leaves_rows_alone_that_no_rank_has_touched():
    trained, = {tuple(map(tuple, of_rank["table"][ROWS - 2:]))
                for of_rank, _ in loopback.run(2, lambda world: train(world, "momentum", "dense", True))}
    np.testing.assert_array_equal(trained, np.random.default_rng(0).standard_normal((ROWS, 4)).astype(np.float32)[-2:])


def test_cost_counts_the_bytes_sent():
    cost = Cost(table_rows=1000, row_bytes=128, index_bytes=4, indices=100, rows=100, size=4)
    assert cost.gather_sent == 3 * 100 * 132
    assert cost.dense_sent == 2 * 3 / 4 * 1000 * 128
    assert not cost.prefers_dense
    assert Cost(1000, 128, 4, 1000, 1000, 4).prefers_dense
    assert not Cost(1000, 128, 4, None, None, 4).prefers_dense


def test_an_unknown_choice_is_refused():
    with rf.Graph().as_default():
        with pytest.raises(InvalidArgumentError, match="auto, gather, dense: got 'often'"):
            rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(model(4, ROWS)[2]), sparse="often")
