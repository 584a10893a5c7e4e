"""Reproducible training: the same bits on any number of ranks, by any algorithm; what is refused, and how."""
import hashlib
import json

import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import loopback, shards
from ringflow.graph.errors import Error, GraphError, InvalidArgumentError
from ringflow.graph.session import BACKENDS

SHARDS, BATCH, STEPS = 8, 32, 50
SIZES = [1, 2, 3, 4, 5, 8]


# ---- models: placeholders and loss
def weight(rng, name, *shape):
    return rf.Variable((rng.standard_normal(shape) * 0.3).astype(np.float32), name=name)


def mlp(rng):
    """Two layers with dropout; the weights of the first decay."""
    x, y = rf.placeholder(rf.float32, [None, 64], name="x"), rf.placeholder(rf.int32, [None], name="y")
    w1, w2 = weight(rng, "w1", 64, 33), weight(rng, "w2", 33, 5)
    h = rf.nn.dropout(rf.nn.relu(rf.matmul(x, w1) + weight(rng, "b1", 33)), rate=0.3)
    logits = rf.matmul(h, w2)
    loss = rf.reduce_mean(rf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    return x, y, loss + 1e-3 * rf.nn.l2_loss(w1)


def conv(rng):
    """A convolution, batch norm with moving averages, pooling."""
    x, y = rf.placeholder(rf.float32, [None, 64], name="x"), rf.placeholder(rf.int32, [None], name="y")
    h = rf.nn.conv2d(rf.reshape(x, [-1, 8, 8, 1]), weight(rng, "c", 3, 3, 1, 6), strides=[1, 1, 1, 1], padding="SAME")
    scale = rf.Variable(np.ones(6, np.float32), name="scale")
    offset = rf.Variable(np.zeros(6, np.float32), name="offset")
    h, mean, variance = rf.nn.fused_batch_norm(h, scale, offset, is_training=True)
    for name, value in (("mean", mean), ("variance", variance)):
        moving = rf.Variable(np.ones(6, np.float32), trainable=False, name=name)
        rf.add_to_collection(rf.GraphKeys.UPDATE_OPS, moving.assign_sub((moving - value) * 0.1).op)
    h = rf.nn.max_pool(rf.nn.relu(h), ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    logits = rf.matmul(rf.reshape(h, [-1, 96]), weight(rng, "w", 96, 5))
    return x, y, rf.reduce_mean(rf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))


def embedding(rng):
    """Rows of a table, many of which repeat."""
    x, y = rf.placeholder(rf.float32, [None, 64], name="x"), rf.placeholder(rf.int32, [None], name="y")
    rows = rf.gather(weight(rng, "table", 7, 6), rf.cast(rf.abs(x) * 2, rf.int32) % 7)
    logits = rf.matmul(rf.reduce_mean(rows, 1), weight(rng, "w", 6, 5))
    return x, y, rf.reduce_mean(rf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))


def normalised(rng):
    """Layer normalisation, a softmax along rows, GELU, a bias: what fusion joins along rows and sums by columns, where
    a shard has 512 elements. So four rows are made of each of the batch."""
    x, y = rf.placeholder(rf.float32, [None, 64], name="x"), rf.placeholder(rf.int32, [None], name="y")
    gain, bias, inner = (rf.Variable(np.full(n, v, np.float32), name=name)
                         for n, v, name in ((64, 1, "gain"), (64, 0, "bias"), (96, 0, "inner")))
    h = rf.reshape(rf.matmul(x, weight(rng, "u", 64, 256)), [-1, 64])
    mean, variance = rf.nn.moments(h, [1], keep_dims=True)
    h = (h - mean) * rf.rsqrt(variance + 1e-5) * gain + bias
    h = rf.matmul(h * rf.nn.softmax(h * 0.5), weight(rng, "v", 64, 96)) + inner
    h = 0.5 * h * (1.0 + rf.tanh(0.7978845608 * (h + 0.044715 * h * h * h)))
    logits = rf.matmul(rf.reshape(h, [-1, 4 * 96]), weight(rng, "w", 4 * 96, 5))
    return x, y, rf.reduce_mean(rf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))


def clipped(loss):
    """Momentum on gradients scaled to a norm of at most 0.5, all together."""
    optimizer = rf.train.MomentumOptimizer(0.05, 0.9)
    pairs = optimizer.compute_gradients(loss)
    norm = rf.sqrt(rf.add_n([rf.reduce_sum(rf.square(g)) for g, _ in pairs]))
    return optimizer.apply_gradients([(g * (0.5 / rf.maximum(norm, 0.5)), v) for g, v in pairs])


OPTIMIZERS = {
    "sgd": lambda loss: rf.train.GradientDescentOptimizer(0.1).minimize(loss),
    "momentum": lambda loss: rf.train.MomentumOptimizer(0.05, 0.9).minimize(loss),
    "adam": lambda loss: rf.train.AdamOptimizer(0.01).minimize(loss),
    "clipped": clipped,
}
CASES = {
    "mlp adam": (mlp, "adam"), "mlp clipped momentum": (mlp, "clipped"), "conv momentum": (conv, "momentum"),
    "conv sgd": (conv, "sgd"), "embedding adam": (embedding, "adam"), "normalised adam": (normalised, "adam"),
}


def batch_of(step):
    rng = np.random.default_rng(step)
    return rng.standard_normal((BATCH, 64)).astype(np.float32), rng.integers(0, 5, BATCH).astype(np.int32)


def train(world, case, steps=STEPS, *, backend=None, each_step=None, reproducible=True, total=SHARDS, fetch=False,
          first=0, values=None):
    """The hash of all variables, slots included, after `steps`; with `fetch` also the last loss of all shards.

    values: of the variables at step `first`, by name; replaced by those after the last step.
    """
    model, optimizer = CASES[case]
    with rf.Graph().as_default():
        rf.set_random_seed(5)
        x, y, loss = model(np.random.default_rng(0))
        with rf.control_dependencies(rf.get_collection(rf.GraphKeys.UPDATE_OPS)):
            train_op = OPTIMIZERS[optimizer](loss)
        options = {"reproducible": True, "shards": total} if reproducible else {}
        rf.distribute(train_op, **options)
        fetches = [train_op, rf.collectives.shard_mean(loss)] if fetch else [train_op]
        rows = rf.collectives.shard_rows(BATCH, total)
        with rf.Session(backend=backend) as session:
            session.run(rf.global_variables_initializer())
            for v in rf.global_variables() if values else ():
                v.load(values[v.name], session)
            for step in range(first, steps):
                if each_step is not None:
                    each_step(world, step)
                data, labels = batch_of(step)
                got = session.run(fetches, {x: data[rows], y: labels[rows]})
            state = hashlib.sha256()
            for v in rf.global_variables():
                value = session.run(v)
                assert np.isfinite(value).all(), v.name
                if values is not None and world.rank == 0:
                    values[v.name] = value
                state.update(v.name.encode() + value.tobytes())
            return (state.hexdigest(), float(got[1]).hex()) if fetch else state.hexdigest()


def hashes(size, *args, algorithm="auto", nodes=(), **options):
    return set(loopback.run(size, lambda world: train(world, *args, **options), algorithm=algorithm, nodes=nodes))


def algorithms(nodes=(4,)):
    return loopback.run(sum(nodes), lambda world: world.algorithms(), nodes=nodes)[0]


# ---- the same bits
@pytest.mark.parametrize("case", CASES)
def test_50_steps_give_the_same_bits_on_any_number_of_ranks(case):
    assert len(set().union(*(hashes(size, case, fetch=True) for size in SIZES))) == 1


@pytest.mark.parametrize("algorithm", algorithms())
def test_every_algorithm_gives_the_bits_of_one_rank(algorithm):
    alone = hashes(1, "mlp adam")
    for size in (2, 3, 5):
        assert hashes(size, "mlp adam", algorithm=algorithm) == alone, size


@pytest.mark.parametrize("nodes", [[2, 2], [4, 4]])
def test_every_algorithm_between_nodes_gives_the_bits_of_one_rank(nodes):
    alone = hashes(1, "mlp adam", 20)
    for algorithm in algorithms(nodes):
        assert hashes(sum(nodes), "mlp adam", 20, algorithm=algorithm, nodes=nodes) == alone, algorithm


def test_stopping_and_going_on_elsewhere_changes_no_bit():
    values = {}
    for first, size, algorithm in ((0, 5, "one_pass"), (13, 2, "ring"), (26, 1, "auto"), (39, 4, "tree")):
        got = hashes(size, "conv momentum", first + 13, algorithm=algorithm, first=first, values=values)
    assert got == hashes(1, "conv momentum", 52)


@pytest.mark.parametrize("bucket_bytes", ["1", "600", "20000"])
def test_how_gradients_are_grouped_changes_no_bit(monkeypatch, bucket_bytes):
    expected = hashes(1, "conv momentum", 20)
    monkeypatch.setenv("RINGFLOW_BUCKET_BYTES", bucket_bytes)
    assert hashes(3, "conv momentum", 20) == expected


@pytest.mark.parametrize("total", [1, 2, 3, 7, 16])
def test_any_number_of_shards_and_a_batch_of_equal_ones(total):
    global BATCH
    old, BATCH = BATCH, 2 * total
    try:
        sizes = [size for size in SIZES if size <= total]
        assert len(set().union(*(hashes(size, "mlp adam", 5, total=total) for size in sizes))) == 1
    finally:
        BATCH = old


def test_the_reference_backend_has_the_same_property():
    assert len(set().union(*(hashes(size, "mlp clipped momentum", 3, backend="reference") for size in (1, 3)))) == 1


def change_algorithm(world, step, sent):
    """Every seven steps the next algorithm, which shows in the bytes sent where the ranks share no memory."""
    sent.append(world.bytes_sent())
    if step % 7 == 3:
        names = world.algorithms()
        world.set_selection([(None, names[step // 7 % len(names)])])


@pytest.mark.parametrize("size, settings", [(2, {}), (3, {"RINGFLOW_SHARED_MEMORY": "0"})])
def test_mpirun_and_a_change_of_the_algorithm_give_the_bits_of_one_rank(mpirun, size, settings):
    source = f"""
import importlib.util, json, ringflow as rf
spec = importlib.util.spec_from_file_location("reproducible", {__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
world = rf.init()
got = {{case: module.train(world, case) for case in ("conv momentum", "embedding adam")}}
sent = []
change = lambda world, step: module.change_algorithm(world, step, sent)
got["mlp adam"] = module.train(world, "mlp adam", each_step=change)
assert all(g == got for g in world.allgather_object(got)), "the ranks differ"
ways = len(set(b - a for a, b in zip(sent[1:], sent[2:])))
assert rf.size() == 2 or ways > 1, "one algorithm ran"
if world.rank == 0:
    print(json.dumps(got))
"""
    ran = mpirun(size, source, timeout_s=150, **settings)
    assert ran.returncode == 0, ran.stderr
    for case, value in json.loads(ran.stdout.strip().splitlines()[-1]).items():
        assert hashes(1, case) == {value}, case


# ---- planted faults: what the tests above must see
def plain_sums(program, means, copies, rows, order):
    """In place of exact buckets: float sums over the rank's shards, then over the ranks."""
    for op in means:
        parts = copies[op]
        total = program.add("AddN", parts, {}, f"{op.name}/own", like=op).outputs[0] if len(parts) > 1 else parts[0]
        keys = {k: op.attrs[k] for k in ("group_size", "group_key", "instance_key")}
        total = program.add("CollectiveReduce", [total], keys, f"{op.name}/all", like=op).outputs[0]
        share = program.add("Const", [], {"value": np.array(1 / SHARDS, np.float32), "dtype": np.float32},
                            f"{op.name}/share", like=op).outputs[0]
        program.replace(op.outputs[0], program.add("Mul", [total, share], {}, f"{op.name}/mean", like=op).outputs[0])


def test_plain_float_sums_are_seen(monkeypatch):
    monkeypatch.setattr(shards, "build_buckets", plain_sums)
    assert len(set().union(*(hashes(size, "mlp clipped momentum", 10) for size in (1, 2, 4)))) > 1


def test_gradients_of_the_whole_local_batch_are_seen():
    got = [hashes(size, "conv sgd", 10, reproducible=False) for size in (1, 2, 4)]
    assert len(set().union(*got)) > 1


def test_random_streams_by_rank_are_seen(monkeypatch):
    monkeypatch.setattr(shards, "_seed", lambda seed2, shard: seed2)
    with_shared_streams = hashes(1, "mlp adam", 10)
    monkeypatch.undo()
    assert hashes(1, "mlp adam", 10) != with_shared_streams


# ---- values
def ones_model(shape, dtype=rf.float32):
    """A variable whose gradient is the mean of the fed rows."""
    x = rf.placeholder(dtype, [None, *shape], name="x")
    w = rf.Variable(np.zeros(shape, dtype.as_numpy_dtype), name="w")
    loss = rf.reduce_sum(rf.reduce_mean(x, 0) * w)
    return x, w, rf.train.GradientDescentOptimizer(-1.0).minimize(loss)


def mean_of_rows(world, data, backend=None):
    """What one step makes of zeros: the mean of the rows of `data`, each of which is a shard."""
    with rf.Graph().as_default():
        x, w, train_op = ones_model(data.shape[1:], rf.float32 if data.dtype == np.float32 else rf.float64)
        rf.distribute(train_op, reproducible=True, shards=len(data))
        with rf.Session(backend=backend) as session:
            session.run(rf.global_variables_initializer())
            session.run(train_op, {x: data[rf.collectives.shard_rows(len(data), len(data))]})
            return session.run(w)


@pytest.mark.parametrize("total, dtype, accuracy", [(8, np.float32, 4e-8), (8, np.float64, 2e-16),
                                                    (256, np.float32, 1e-6), (256, np.float64, 2e-16)])
@pytest.mark.parametrize("decades", [0, 6])
def test_means_are_as_accurate_as_floats_and_those_of_the_reference(total, dtype, accuracy, decades):
    rng = np.random.default_rng(1)
    data = (rng.standard_normal((total, 3000)) * 10.0 ** (-decades * rng.random((total, 3000)))).astype(dtype)
    data[:, 5] = 0
    data[3, 7] = np.finfo(dtype).tiny / 4
    exact = data.astype(np.longdouble).mean(0)
    got = loopback.run(3, lambda world: mean_of_rows(world, data))[0]
    assert np.linalg.norm((got - exact).astype(float)) < accuracy * np.linalg.norm(exact.astype(float))
    np.testing.assert_array_equal(got, loopback.run(2, lambda world: mean_of_rows(world, data, "reference"))[0])


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_inf_and_nan_come_out_where_plain_sums_have_them(backend):
    data = np.random.default_rng(2).standard_normal((6, 2500)).astype(np.float32)
    data[0, 3], data[1, 4], data[5, 2000] = np.nan, np.inf, -np.inf
    data[2, 8], data[4, 8] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = data.mean(0)
    for size in (1, 2, 3):
        for got in loopback.run(size, lambda world: mean_of_rows(world, data, backend)):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


# ---- what else a run may fetch
def test_other_fetches_are_the_rank_s_own_and_change_no_bit():
    def fetching(world):
        with rf.Graph().as_default():
            rf.set_random_seed(5)
            x, y, loss = conv(np.random.default_rng(0))
            train_op = rf.distribute(OPTIMIZERS["sgd"](loss), reproducible=True, shards=4)
            rows = rf.collectives.shard_rows(BATCH, 4)
            data, labels = batch_of(0)
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                fetches = [train_op, loss] if world.rank == 0 else [train_op]
                for _ in range(3):
                    got = session.run(fetches, {x: data[rows], y: labels[rows]})
                own = session.run(loss, {x: data[:3], y: labels[:3]}) if world.rank == 0 else None
                return session.run("w:0").tobytes(), got[-1], own

    assert len({w for size in (1, 2, 3) for w, _, _ in loopback.run(size, fetching)}) == 1
    assert all(np.isfinite(x) for x in loopback.run(2, fetching)[0][1:])


# ---- refusals
def refused(world, words, rows=None, **options):
    with rf.Graph().as_default():
        x, w, train_op = ones_model((3,))
        with pytest.raises(Error, match=words):
            rf.distribute(train_op, **options)
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                session.run(train_op, {x: np.ones((rows(world), 3), np.float32)})


@pytest.mark.parametrize("words, options", [
    ("needs shards=L", {"reproducible": True}),
    ("needs shards=L", {"reproducible": True, "shards": 0}),
    ("needs shards=L", {"reproducible": True, "shards": 5000}),
    ("every rank needs a shard: there are 2 ranks and shards=1", {"reproducible": True, "shards": 1}),
    ("are for reproducible=True", {"shards": 4}),
    ("takes placeholders whose first dimension is None: 'w'", {"reproducible": True, "shards": 4, "batch": ["w:0"]}),
])
def test_options_that_do_not_fit_are_told(words, options):
    loopback.run(2, lambda world: refused(world, words, **options))


def test_rows_that_do_not_divide_are_told():
    def rows(world):
        return 7

    words = "7 rows fed for 'x' do not divide by 2"
    loopback.run(2, lambda world: refused(world, words, rows, reproducible=True, shards=4))


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_ranks_that_feed_shards_of_different_sizes_are_all_told(backend):
    def uneven(world):
        with rf.Graph().as_default():
            x, w, train_op = ones_model((3,))
            rf.distribute(train_op, reproducible=True, shards=4)
            with rf.Session(backend=backend) as session:
                session.run(rf.global_variables_initializer())
                with pytest.raises(InvalidArgumentError, match="shards of one size.* between 2 and 4.*shard_rows"):
                    session.run(train_op, {x: np.ones((4 + 4 * world.rank, 3))})
                session.run(train_op, {x: np.ones((4, 3))})
                return session.run(w).tolist()

    assert loopback.run(2, uneven) == [[1, 1, 1]] * 2


def test_shards_of_another_number_on_one_rank_are_an_error_on_all():
    def differing(world):
        with rf.Graph().as_default():
            x, w, train_op = ones_model((3,))
            rf.distribute(train_op, reproducible=True, shards=4 + 2 * world.rank)
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                with pytest.raises(GraphError, match="the ranks hold different graphs"):
                    session.run(train_op, {x: np.ones((12, 3))})

    loopback.run(2, differing)


def test_random_ops_need_seeds():
    with rf.Graph().as_default():
        x = rf.placeholder(rf.float32, [None, 4])
        w = rf.Variable(np.ones((4, 1), np.float32))
        loss = rf.reduce_mean(rf.matmul(rf.nn.dropout(x, rate=0.5), w))
        with pytest.raises(GraphError, match="needs seeds: the random op 'dropout/.*Fix: call rf.set_random_seed"):
            rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss), reproducible=True, shards=2)


def test_different_seeds_on_the_ranks_are_an_error():
    def seeded(world):
        with rf.Graph().as_default():
            rf.set_random_seed(world.rank)
            x = rf.placeholder(rf.float32, [None, 4])
            w = rf.Variable(np.ones((4, 1), np.float32))
            loss = rf.reduce_mean(rf.matmul(rf.nn.dropout(x, rate=0.5), w))
            train_op = rf.train.GradientDescentOptimizer(0.1).minimize(loss)
            rf.distribute(train_op, reproducible=True, shards=2)
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                with pytest.raises(GraphError, match="the ranks hold different graphs"):
                    session.run(train_op, {x: np.ones((2, 4))})

    loopback.run(2, seeded)


def test_collectives_inside_a_shard_are_refused():
    def synchronised(world):
        with rf.Graph().as_default():
            x = rf.placeholder(rf.float32, [None, 4])
            w = rf.Variable(np.ones((4, 1), np.float32))
            loss = rf.reduce_mean(rf.matmul(x - rf.collectives.all_reduce(rf.reduce_mean(x, 0), "mean"), w))
            train_op = rf.train.GradientDescentOptimizer(0.1).minimize(loss)
            rf.distribute(train_op, reproducible=True, shards=2)
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                with pytest.raises(GraphError, match="CollectiveReduce cannot be part of a shard's gradient"):
                    session.run(train_op, {x: np.ones((2, 4))})

    loopback.run(2, synchronised)


def test_shard_mean_needs_a_reproducible_train_op():
    with rf.Graph().as_default(), pytest.raises(GraphError, match="this graph has no shards"):
        rf.collectives.shard_mean(rf.constant(1.0))


def test_shards_of_ranks_follow_one_another():
    for total in range(1, 20):
        for size in range(1, total + 1):
            owned = [shards.shards_of(rank, size, total) for rank in range(size)]
            assert [s for part in owned for s in part] == list(range(total))
            assert max(map(len, owned)) - min(map(len, owned)) <= 1 and min(map(len, owned)) > 0
    with pytest.raises(InvalidArgumentError, match="33 rows do not divide into 8"):
        rf.collectives.shard_rows(33, 8)
