"""What travels with the last bucket and is decided by it: weights of uneven batches, metrics, clips, skips, drift."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import DynamicLossScale, averages, loopback
from ringflow.graph.errors import DataLossError, GraphError, InternalError, InvalidArgumentError
from ringflow.graph.session import BACKENDS

BATCH, STEPS = 12, 6
OPTIMIZERS = {
    "sgd": lambda: rf.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: rf.train.MomentumOptimizer(0.05, 0.9),
    "adam": lambda: rf.train.AdamOptimizer(0.02),
}


def model(dtype=np.float32):
    """x (?, 4) -> tanh -> (?, 1) -> mean squared error."""
    rng = np.random.default_rng(0)
    x, y = rf.placeholder(dtype, [None, 4], name="x"), rf.placeholder(dtype, [None, 1], name="y")
    w1 = rf.Variable(rng.standard_normal((4, 3)).astype(dtype), name="w1")
    w2 = rf.Variable(rng.standard_normal((3, 1)).astype(dtype), name="w2")
    return x, y, rf.reduce_mean(rf.square(rf.matmul(rf.tanh(rf.matmul(x, w1)), w2) - y))


def data(step):
    rng = np.random.default_rng(step)
    return rng.standard_normal((BATCH, 4)), rng.standard_normal((BATCH, 1))


def train(world, optimizer="sgd", backend=None, parts=None, fetch=(), steps=STEPS, batches=data, **options):
    """(variables, fetched averages of each step). parts: the bounds of this rank's share; default equal ones."""
    with rf.Graph().as_default():
        x, y, loss = model()
        if options.pop("with_samples", False):
            options["samples"] = rf.shape(x)[0]
        if options.pop("with_metrics", False):
            options["metrics"] = {"loss": loss}
        train_op = OPTIMIZERS[optimizer]().minimize(loss, global_step=rf.train.get_or_create_global_step())
        rf.distribute(train_op, **options)
        wanted = [averages(train_op)[name] for name in fetch]
        bounds = parts or [BATCH * r // world.size for r in range(world.size + 1)]
        share, seen = slice(bounds[world.rank], bounds[world.rank + 1]), []
        with rf.Session(backend=backend) as session:
            session.run(rf.global_variables_initializer())
            for k in range(steps):
                rows, labels = batches(k)
                seen.append(session.run([train_op, *wanted], {x: rows[share], y: labels[share]})[1:])
            return {v.op.name: session.run(v) for v in rf.global_variables()}, seen


def assert_same(got, wanted, **tolerance):
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, err_msg=name, **(tolerance or {"rtol": 1e-5, "atol": 1e-6}))


both = pytest.mark.parametrize("backend", sorted(BACKENDS))


@both
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("parts", [[0, 1, 12], [0, 7, 8, 12]])
def test_uneven_parts_are_weighted_by_their_samples(parts, optimizer, backend):
    (alone, told), = loopback.run(1, lambda w: train(w, optimizer, backend, with_metrics=True, with_samples=True,
                                                     fetch=("loss", "samples")))
    for got, seen in loopback.run(len(parts) - 1, lambda w: train(w, optimizer, backend, parts, with_metrics=True,
                                                                  with_samples=True, fetch=("loss", "samples"))):
        assert_same(got, alone)
        np.testing.assert_allclose(seen, told, rtol=1e-5)
        assert [s[1] for s in seen] == [BATCH] * STEPS


@both
def test_metrics_without_samples_are_means_over_ranks(backend):
    def body(world):
        return train(world, backend=backend, with_metrics=True, fetch=("loss", "samples"))[1]

    alone, = loopback.run(1, body)
    for seen in loopback.run(3, body):
        np.testing.assert_allclose([s[0] for s in seen], [s[0] for s in alone], rtol=1e-5)
        assert [s[1] for s in seen] == [3] * STEPS


@both
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_clipping_equals_that_of_one_process(size, optimizer, backend):
    def by_hand(world):
        with rf.Graph().as_default():
            x, y, loss = model()
            chosen = OPTIMIZERS[optimizer]()
            pairs = chosen.compute_gradients(loss)
            norm = rf.sqrt(rf.add_n([rf.reduce_sum(rf.square(g)) for g, _ in pairs]))
            train_op = chosen.apply_gradients([(g * (0.3 / rf.maximum(norm, 0.3)), v) for g, v in pairs])
            with rf.Session(backend=backend) as session:
                session.run(rf.global_variables_initializer())
                norms = [session.run([norm, train_op], dict(zip((x, y), data(k))))[0] for k in range(STEPS)]
                return {v.op.name: session.run(v) for v in rf.global_variables()}, norms

    (wanted, norms), = loopback.run(1, by_hand)
    for got, seen in loopback.run(size, lambda w: train(w, optimizer, backend, clip_norm=0.3,
                                                        fetch=("gradient_norm",))):
        assert_same(got, wanted)
        np.testing.assert_allclose([s[0] for s in seen], norms, rtol=1e-5)


@both
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_overflow_on_one_rank_makes_all_ranks_skip_the_step(optimizer, backend):
    def poisoned(step):
        rows, labels = data(step if step < 2 else step - 1)
        if step == 2:
            labels[-1] = np.inf  # the last rank's part
        return rows, labels

    scale = DynamicLossScale(initial=1024.0, interval=2)
    fetch = ("finite", "loss_scale")

    def body(world):
        return train(world, optimizer, backend, loss_scale=scale, fetch=fetch, steps=STEPS + 1, batches=poisoned)

    (alone, _), = loopback.run(1, lambda w: train(w, optimizer, backend))
    for got, seen in loopback.run(2, body):
        assert_same(got, alone)  # as if the step had not been: momentum, moments and the global step as well
        assert [bool(s[0]) for s in seen] == [True, True, False, True, True, True, True]
        assert [float(s[1]) for s in seen] == [1024, 1024, 2048, 1024, 1024, 2048, 2048]


@both
def test_a_fixed_loss_scale_changes_nothing(backend):
    (alone, _), = loopback.run(1, lambda w: train(w, "adam", backend))
    for got, _ in loopback.run(2, lambda w: train(w, "adam", backend, loss_scale=256.0, clip_norm=1e6)):
        assert_same(got, alone)


@both
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"with_samples": True, "with_metrics": True}, {"clip_norm": 0.3}])
def test_accumulated_steps_equal_one_step_of_their_batches(size, optimizer, options, backend):
    def wide(step):
        return [np.concatenate(parts) for parts in zip(*(data(3 * step + i) for i in range(3)))]

    def whole(world):
        return train(world, optimizer, backend, [0, 3 * BATCH], steps=2, batches=wide, **options)

    (alone, _), = loopback.run(1, whole)
    for got, _ in loopback.run(size, lambda w: train(w, optimizer, backend, steps=6, accumulate=3, **options)):
        assert_same(got, alone)
        assert got["global_step"] == 2


@both
def test_averages_of_accumulated_steps_are_of_all_of_them(backend):
    def body(world):
        return train(world, "sgd", backend, steps=4, accumulate=2, with_samples=True, with_metrics=True,
                     fetch=("loss", "samples"))[1]

    for seen in loopback.run(2, body):
        assert np.isnan([seen[0], seen[2]]).all()  # nothing has been exchanged
        assert [seen[1][1], seen[3][1]] == [2 * BATCH] * 2 and np.isfinite([seen[1], seen[3]]).all()


@both
def test_replicas_that_have_drifted_apart_are_named(backend):
    def body(world):
        with rf.Graph().as_default():
            x, y, loss = model()
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss), checks=True)
            w2 = next(v for v in rf.trainable_variables() if v.op.name == "w2")
            change = w2.assign_add(np.full((3, 1), 1e-3))
            with rf.Session(backend=backend) as session:
                session.run(rf.global_variables_initializer())
                for k in range(4):
                    session.run(train_op, dict(zip((x, y), data(k))))
                if world.rank == 1:
                    session.run(change)
                words = r"drifted apart: variable 'w2', elements 0 to 2: rank.*1.* differ"
                with pytest.raises(DataLossError, match=words):
                    for k in range(2):
                        session.run(train_op, dict(zip((x, y), data(k))))

    loopback.run(3, body)


@both
def test_ranks_at_different_steps_are_told(backend):
    def body(world):
        with rf.Graph().as_default():
            x, y, loss = model()
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss), metrics={"loss": loss})
            feeds = dict(zip((x, y), data(0)))
            packed = next(op for op in rf.get_default_graph().get_operations() if op.type == "_LanePack")
            with rf.Session(backend=backend) as session:
                session.run(rf.global_variables_initializer())
                session.run(train_op, feeds)
                if world.rank == 0:
                    session.run(packed, feeds)
                with pytest.raises(InternalError, match="not at the same step"):
                    session.run(train_op, feeds)

    loopback.run(2, body)


def embedding():
    """(x, y, loss) of rows of a table, some of which repeat, into a linear model."""
    rng = np.random.default_rng(0)
    x, y = rf.placeholder(rf.int32, [None, 2], name="x"), rf.placeholder(rf.float32, [None, 1], name="y")
    table = rf.Variable(rng.standard_normal((6, 3)).astype(np.float32), name="table")
    w = rf.Variable(rng.standard_normal((3, 1)).astype(np.float32), name="w")
    return x, y, rf.reduce_mean(rf.square(rf.matmul(rf.reduce_mean(rf.gather(table, x), 1), w) - y))


@both
@pytest.mark.parametrize("sparse", ["gather", "dense"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_sparse_gradients_are_clipped_and_weighted_with_the_others(optimizer, sparse, backend):
    def body(world):
        with rf.Graph().as_default(), rf.Session(backend=backend) as session:
            x, y, loss = embedding()
            train_op = rf.distribute(OPTIMIZERS[optimizer]().minimize(loss), clip_norm=0.2, sparse=sparse,
                                     samples=rf.shape(x)[0])
            norm = averages(train_op)["gradient_norm"]
            bounds = {1: [0, 12], 2: [0, 5, 12], 3: [0, 2, 3, 12]}[world.size]
            part, norms = slice(bounds[world.rank], bounds[world.rank + 1]), []
            session.run(rf.global_variables_initializer())
            for k in range(4):
                rows = np.random.default_rng(k).integers(0, 6, (BATCH, 2))
                norms.append(session.run([norm, train_op], {x: rows[part], y: data(k)[1][part]})[0])
            return {v.op.name: session.run(v) for v in rf.global_variables()}, norms

    (alone, norms), = loopback.run(1, body)
    assert min(norms) > 0.2
    for size in (2, 3):
        for got, seen in loopback.run(size, body):
            assert_same(got, alone)
            np.testing.assert_allclose(seen, norms, rtol=1e-5)


@both
def test_resource_variables_are_skipped_and_accumulated_as_others(backend):
    def body(world):
        with rf.Graph().as_default(), rf.Session(backend=backend) as session:
            x = rf.placeholder(rf.float32, [2])
            w = rf.Variable(np.float32([1, 2]), name="w", use_resource=True)
            train_op = rf.train.MomentumOptimizer(0.5, 0.5).minimize(rf.reduce_sum(w * x))
            rf.distribute(train_op, loss_scale=DynamicLossScale(4.0), accumulate=2, checks=True)
            session.run(rf.global_variables_initializer())
            seen = []
            for value in (1, 3, np.inf, 1, 2, 2):
                session.run(train_op, {x: np.float32([2 * value if world.rank else 0, 0])})
                seen.append(float(session.run(w)[0]))
            return seen

    for seen in loopback.run(2, body):  # means 2, (skipped), 2 then momentum 2 * 0.5 + 2
        assert seen == [1, 0, 0, 0, 0, -1.5]


def test_only_updates_can_be_held_back():
    from ringflow.graph.ops.gate import gate

    with rf.Graph().as_default() as graph, rf.Session(backend="cpp") as session:
        x = rf.placeholder(rf.float32, [2, 2])
        with graph.control_dependencies([gate(rf.constant(False))]):
            product = rf.matmul(x, x)
        with pytest.raises(InvalidArgumentError, match="only updates of variables and ops without outputs"):
            session.run(product, {x: np.zeros((2, 2))})


def test_lane_rides_on_the_last_bucket(monkeypatch):
    monkeypatch.setenv("RINGFLOW_BUCKET_BYTES", "12")

    def body(world):
        with rf.Graph().as_default(), rf.Session() as session:
            x, y, loss = model()
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss), metrics={"loss": loss})
            return rf.collectives.describe(session, train_op, dict(zip((x, y), data(0))))

    lines = loopback.run(2, body)[0].splitlines()
    assert len(lines) == 5
    assert lines[2].endswith("allreduce/w2") and lines[3].endswith("allreduce/w1, allreduce/lane")


def test_uneven_parts_with_the_runtime_s_other_algorithm():
    (alone, _), = loopback.run(1, lambda w: train(w, "momentum", with_samples=True))
    for got, _ in loopback.run(3, lambda w: train(w, "momentum", None, [0, 1, 5, 12], with_samples=True, clip_norm=9.0),
                               algorithm="ring"):
        assert_same(got, alone)


@pytest.mark.parametrize("words, options", [
    ("clip_norm must be > 0", {"clip_norm": 0.0}),
    ("accumulate must be a number of steps", {"accumulate": 0}),
    ("'samples' must be a scalar tensor", {"samples": 3}),
    ("'loss' must be a scalar tensor", {"metrics": {"loss": 1.0}}),
    ("reproducible=True goes with", {"clip_norm": 1.0, "reproducible": True}),
    ("wire_dtype must be bfloat16 or float16", {"wire_dtype": "float32"}),
    ("rounding must be", {"wire_dtype": "float16", "rounding": "up"}),
])
def test_options_that_make_no_sense_are_refused(words, options):
    with rf.Graph().as_default():
        _, _, loss = model()
        with pytest.raises(InvalidArgumentError, match=words):
            rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss), **options)


def test_averages_of_an_undistributed_step_and_scaling_without_a_loss_are_errors():
    with rf.Graph().as_default():
        _, _, loss = model()
        optimizer = rf.train.GradientDescentOptimizer(0.1)
        train_op = optimizer.minimize(loss)
        with pytest.raises(GraphError, match="not distributed"):
            averages(train_op)
        ones = [(rf.ones_like(v.value()), v) for v in rf.trainable_variables()]
        foreign = rf.train.GradientDescentOptimizer(0.1).apply_gradients(ones)
        with pytest.raises(GraphError, match="make the train op by optimizer.minimize"):
            rf.distribute(foreign, loss_scale=2.0)


def test_ranks_under_mpirun_clip_skip_weigh_and_accumulate_as_one_rank_does(mpirun, tmp_path):
    options = {"clip_norm": 0.3, "with_samples": True, "with_metrics": True, "accumulate": 2}
    source = f"""
import importlib.util, numpy as np, ringflow as rf
spec = importlib.util.spec_from_file_location("lane", {__file__!r})
lane = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lane)
world = rf.init()
scale = rf.collectives.DynamicLossScale(8.0)
values, _ = lane.train(world, "adam", None, [0, 5, 12], loss_scale=scale, **{options!r})
np.savez({str(tmp_path)!r} + f"/{{world.rank}}.npz", **values)
"""
    ran = mpirun(2, source)
    assert ran.returncode == 0, ran.stderr
    (alone, _), = loopback.run(1, lambda w: train(w, "adam", None, **options))
    for rank in range(2):
        assert_same(np.load(tmp_path / f"{rank}.npz"), alone)
