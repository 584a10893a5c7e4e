"""The allreduce strategy: what the graph becomes, that N ranks train as one does, and what is refused."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import loopback
from ringflow.graph.errors import FailedPreconditionError, GraphError, InvalidArgumentError
from ringflow.graph.session import BACKENDS

GOLDEN = """\
GradientDescent/update_b1/ApplyGradientDescent = ApplyGradientDescent(b1, rate, allreduce/b1)
GradientDescent/update_w1/ApplyGradientDescent = ApplyGradientDescent(w1, rate, allreduce/w1)
GradientDescent/update_w2/ApplyGradientDescent = ApplyGradientDescent(w2, rate, allreduce/w2)
allreduce/b1 = CollectiveReduce(gradient of b1) Add Div 2 ranks, key 2 -> (3,)
allreduce/start/b1 = CollectiveBcast(b1/read) root 0, key 5 -> (3,)
allreduce/start/b1/Assign = Assign(b1, allreduce/start/b1)
allreduce/start/w1 = CollectiveBcast(w1/read) root 0, key 4 -> (4, 3)
allreduce/start/w1/Assign = Assign(w1, allreduce/start/w1)
allreduce/start/w2 = CollectiveBcast(w2/read) root 0, key 6 -> (3, 1)
allreduce/start/w2/Assign = Assign(w2, allreduce/start/w2)
allreduce/start_from_rank_0 = NoOp(^allreduce/start/w1/Assign, ^allreduce/start/b1/Assign, ^allreduce/start/w2/Assign)
allreduce/w1 = CollectiveReduce(gradient of w1) Add Div 2 ranks, key 1 -> (4, 3)
allreduce/w2 = CollectiveReduce(gradient of w2) Add Div 2 ranks, key 3 -> (3, 1)
"""


def golden_text(graph):
    """What distributing has made, and what reads it; sorted, gradients under their variables' names."""
    record, = graph.get_collection(rf.GraphKeys.TRAIN_STEPS)
    names = {g: f"gradient of {v.op.name}" for g, v in record.grads_and_vars}
    lines = []
    for op in graph.get_operations():
        if not op.name.startswith("allreduce/") and op.type != "ApplyGradientDescent":
            continue
        inputs = [names.get(t, t.op.name) for t in op.inputs] + ["^" + c.name for c in op.control_inputs]
        if op.type == "ApplyGradientDescent":
            inputs[1] = "rate"
        a, shape = op.attrs, "".join(f" -> {t.shape}" for t in op.outputs)
        notes = {"CollectiveReduce": "{merge_op} {final_op} {group_size} ranks, key {instance_key}",
                 "CollectiveBcast": "root {root}, key {instance_key}"}.get(op.type)
        lines.append(f"{op.name} = {op.type}({', '.join(inputs)})" + (f" {notes.format(**a)}{shape}" if notes else ""))
    return "".join(sorted(line + "\n" for line in lines))


def two_layers(seed=0):
    """x (?, 4) -> tanh -> (?, 1) -> mean squared error."""
    rng = np.random.default_rng(seed)
    x, y = rf.placeholder(rf.float32, [None, 4], name="x"), rf.placeholder(rf.float32, [None, 1], name="y")
    w1 = rf.Variable(rng.standard_normal((4, 3)).astype(np.float32), name="w1")
    b1 = rf.Variable(np.zeros(3, np.float32), name="b1")
    w2 = rf.Variable(rng.standard_normal((3, 1)).astype(np.float32), name="w2")
    loss = rf.reduce_mean(rf.square(rf.matmul(rf.tanh(rf.matmul(x, w1) + b1), w2) - y))
    return x, y, loss


def looped(seed=0):
    """One layer three times over, in a loop."""
    rng = np.random.default_rng(seed)
    x, y = rf.placeholder(rf.float32, [None, 4], name="x"), rf.placeholder(rf.float32, [None, 1], name="y")
    w1 = rf.Variable(rng.standard_normal((4, 4)).astype(np.float32), name="w1")
    w2 = rf.Variable(rng.standard_normal((4, 1)).astype(np.float32), name="w2")
    _, h = rf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, rf.tanh(rf.matmul(h, w1))), [rf.constant(0), x])
    return x, y, rf.reduce_mean(rf.square(rf.matmul(h, w2) - y))


def unrolled(seed=0):
    """Three steps of a recurrent network: the gradient of its weights is a sum of products."""
    rng = np.random.default_rng(seed)
    x, y = rf.placeholder(rf.float32, [None, 4], name="x"), rf.placeholder(rf.float32, [None, 1], name="y")
    wx, wh, wo = (rf.Variable(rng.standard_normal(shape).astype(np.float32) / 4, name=name)
                  for name, shape in (("wx", (4, 16)), ("wh", (16, 16)), ("wo", (16, 1))))
    into = h = rf.tanh(rf.matmul(x, wx))
    for _ in range(3):
        h = rf.tanh(into + rf.matmul(h, wh))
    return x, y, rf.reduce_mean(rf.square(rf.matmul(h, wo) - y))


def embedding(seed=0):
    """Rows of a table, some of which repeat, into a linear model."""
    rng = np.random.default_rng(seed)
    x, y = rf.placeholder(rf.int32, [None, 2], name="x"), rf.placeholder(rf.float32, [None, 1], name="y")
    table = rf.Variable(rng.standard_normal((6, 3)).astype(np.float32), name="table")
    w = rf.Variable(rng.standard_normal((3, 1)).astype(np.float32), name="w")
    loss = rf.reduce_mean(rf.square(rf.matmul(rf.reduce_mean(rf.gather(table, x), 1), w) - y))
    return x, y, loss


def clipped(optimizer, loss):
    """Gradients scaled to a norm of at most 0.5, all together."""
    pairs = optimizer.compute_gradients(loss)
    norm = rf.sqrt(rf.add_n([rf.reduce_sum(rf.square(g)) for g, _ in pairs]))
    return optimizer.apply_gradients([(g * (0.5 / rf.maximum(norm, 0.5)), v) for g, v in pairs])


CASES = {
    "sgd": (two_layers, lambda loss: rf.train.GradientDescentOptimizer(0.1).minimize(loss)),
    "unrolled": (unrolled, lambda loss: rf.train.GradientDescentOptimizer(0.1).minimize(loss)),
    "loop": (looped, lambda loss: rf.train.GradientDescentOptimizer(0.1).minimize(loss)),
    "momentum": (two_layers, lambda loss: rf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)),
    "adam": (two_layers, lambda loss: rf.train.AdamOptimizer(0.01).minimize(loss)),
    "adam with a global step": (two_layers, lambda loss: rf.train.AdamOptimizer(0.01).minimize(
        loss, global_step=rf.train.get_or_create_global_step())),
    "clipped by the global norm": (two_layers, lambda loss: clipped(rf.train.GradientDescentOptimizer(0.5), loss)),
    "sparse sgd": (embedding, lambda loss: rf.train.GradientDescentOptimizer(0.1).minimize(loss)),
    "sparse momentum": (embedding, lambda loss: rf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)),
    "sparse adam": (embedding, lambda loss: rf.train.AdamOptimizer(0.01).minimize(loss)),
}
BATCH, STEPS = 12, 20


def train(world, case, backend):
    """The variables after 20 steps over this rank's part of each batch of 12."""
    model, optimise = CASES[case]
    with rf.Graph().as_default():
        x, y, loss = model()
        train_op = rf.distribute(optimise(loss), communicator=world)
        part = slice(world.rank * BATCH // world.size, (world.rank + 1) * BATCH // world.size)
        with rf.Session(backend=backend) as session:
            session.run(rf.global_variables_initializer())
            for k in range(STEPS):
                rng = np.random.default_rng(k)
                data = rng.integers(0, 6, (BATCH, 2)) if model is embedding else rng.standard_normal((BATCH, 4))
                labels = rng.standard_normal((BATCH, 1))
                session.run(train_op, {x: data[part], y: labels[part]})
            return {v.op.name: session.run(v) for v in rf.global_variables()}


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("case", CASES)
def test_ranks_with_parts_of_a_batch_train_as_one_rank_with_the_whole(case, size, backend):
    (alone,) = loopback.run(1, lambda world: train(world, case, backend))
    for of_rank in loopback.run(size, lambda world: train(world, case, backend)):
        for name, value in alone.items():
            np.testing.assert_allclose(of_rank[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.skipif("cpp" not in BACKENDS, reason="ringflow._core is not built")
def test_a_sum_of_products_is_computed_in_its_bucket(monkeypatch):
    from ringflow.kernels.backend import CppBackend

    plans, make = [], CppBackend._executable

    def recorded(backend, program):
        executable = make(backend, program)
        plans.append(executable.describe())
        return executable

    monkeypatch.setattr(CppBackend, "_executable", recorded)
    loopback.run(2, lambda world: train(world, "unrolled", "cpp"))
    lines = [line for plan in plans for line in plan.splitlines() if "= _SumOfProducts(" in line]
    assert len(lines) == 2 and all(line.endswith("pinned") for line in lines), lines


def test_ranks_under_mpirun_train_as_one_rank_does(mpirun, tmp_path):
    """Two, three and four of them: the world, and the first ranks of it split off."""
    source = f"""
import importlib.util, numpy as np, ringflow as rf
spec = importlib.util.spec_from_file_location("strategy", {__file__!r})
strategy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(strategy)
world = rf.init()
for size in (4, 3, 2):
    some = world if size == 4 else world.split(0 if world.rank < size else None)
    for case in ("momentum", "clipped by the global norm", "sparse adam") if some else ():
        np.savez({str(tmp_path)!r} + f"/{{case}} {{size}} {{world.rank}}.npz", **strategy.train(some, case, None))
"""
    ran = mpirun(4, source)
    assert ran.returncode == 0, ran.stderr
    for case in ("momentum", "clipped by the global norm", "sparse adam"):
        (alone,) = loopback.run(1, lambda world, case=case: train(world, case, None))
        for size, rank in ((ranks, r) for ranks in (4, 3, 2) for r in range(ranks)):
            got = np.load(tmp_path / f"{case} {size} {rank}.npz")
            for name, value in alone.items():
                np.testing.assert_allclose(got[name], value, rtol=1e-6, atol=1e-6, err_msg=f"{case} {size} {name}")


def test_rewritten_two_layer_graph_is_the_golden_one(monkeypatch):
    monkeypatch.setenv("RINGFLOW_SHARED_VARIABLES", "0")

    def text(world):
        with rf.Graph().as_default() as graph:
            loss = two_layers()[2]
            train_op = rf.train.GradientDescentOptimizer(0.1).minimize(loss)
            assert rf.distribute(train_op) is train_op
            (types, start), = graph.get_collection(rf.GraphKeys.BEFORE_FIRST_RUN)
            assert types == {"CollectiveReduce", "CollectiveGather"} and start.name == "allreduce/start_from_rank_0"
            return golden_text(graph)

    assert loopback.run(2, text)[0] == GOLDEN


def test_nothing_is_added_with_one_rank():
    with rf.Graph().as_default() as graph:
        train_op = rf.train.GradientDescentOptimizer(0.1).minimize(two_layers()[2])
        version = graph.version
        assert rf.distribute(train_op) is train_op
        assert graph.version == version and not graph.get_collection(rf.GraphKeys.BEFORE_FIRST_RUN)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_variables_start_from_rank_0(backend):
    def start(world):
        with rf.Graph().as_default():
            x, y, loss = two_layers(seed=world.rank)
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.0).minimize(loss))
            with rf.Session(backend=backend) as session:
                session.run(rf.global_variables_initializer())
                session.run(train_op, {x: np.zeros((1, 4)), y: [[0]]})
                return session.run("w1:0")

    first, second = loopback.run(2, start)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))


def test_a_start_that_failed_is_made_up_for_after_initialising():
    def start(world):
        with rf.Graph().as_default():
            x, y, loss = two_layers(seed=world.rank)
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.0).minimize(loss))
            with rf.Session() as session:
                with pytest.raises(FailedPreconditionError, match="uninitialized value"):
                    session.run(train_op, {x: np.zeros((1, 4)), y: [[0]]})
                session.run(rf.global_variables_initializer())
                session.run(train_op, {x: np.zeros((1, 4)), y: [[0]]})
                return session.run("w1:0")

    np.testing.assert_array_equal(*loopback.run(2, start))


def test_fetched_loss_and_evaluation_are_each_rank_s_own():
    def evaluate(world):
        with rf.Graph().as_default():
            x, y, loss = two_layers()
            rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss))
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                return [session.run(loss, {x: np.ones((1, 4)), y: [[7]]}) for _ in range(world.rank)]  # no collectives

    assert [len(r) for r in loopback.run(2, evaluate)] == [0, 1]


def test_last_batches_of_different_sizes_need_no_agreement():
    def uneven(world):
        with rf.Graph().as_default():
            x, y, loss = two_layers()
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss))
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                for n in (8, 8, 8 - 3 * world.rank):  # only rank 1 makes a second plan
                    session.run(train_op, {x: np.ones((n, 4)), y: np.ones((n, 1))})
                return session.run("w1:0")

    np.testing.assert_array_equal(*loopback.run(2, uneven))


@pytest.mark.parametrize("words, call", [
    ("a train op is needed, got Tensor", lambda loss, op, s: rf.distribute(loss)),
    ("not an optimizer's train op: 'group_deps'", lambda loss, op, s: rf.distribute(rf.group(op))),
    ("distributed already", lambda loss, op, s: rf.distribute(rf.distribute(op))),
])
@pytest.mark.parametrize("size", [1, 2])
def test_misuse_is_told(size, words, call):
    def misuse(world):
        with rf.Graph().as_default():
            loss = two_layers()[2]
            with pytest.raises((GraphError, InvalidArgumentError), match=words):
                call(loss, rf.train.GradientDescentOptimizer(0.1).minimize(loss), None)

    loopback.run(size, misuse)


def test_distributing_after_the_first_run_is_an_error_that_changes_nothing():
    def late(world):
        with rf.Graph().as_default() as graph:
            x, y, loss = two_layers()
            train_op = rf.train.GradientDescentOptimizer(0.1).minimize(loss)
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                session.run(train_op, {x: np.zeros((1, 4)), y: [[0]]})
                version = graph.version
                with pytest.raises(GraphError, match="has already run.*Fix: call distribute before"):
                    rf.distribute(train_op)
                assert graph.version == version

    loopback.run(2, late)
