"""Buckets: which reductions travel together, in which order, and that the values are those of single ones."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import all_gather, all_reduce, broadcast, buckets, loopback
from ringflow.graph import dtypes
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.passes import extract, optimise
from ringflow.graph.session import BACKENDS
from ringflow.graph.topology import predecessors


def deep(widths=(4, 8, 8, 1), dtype=np.float32):
    """(train op, feed) of dense layers w0, w1, ...: gradients become ready from the last layer to the first."""
    x = rf.placeholder(dtype, [None, widths[0]], name="x")
    h = x
    for k, (i, o) in enumerate(zip(widths, widths[1:])):
        h = rf.tanh(rf.matmul(h, rf.Variable(np.full((i, o), 0.1, dtype), name=f"w{k}")))
    return [rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(rf.reduce_mean(h)))], [x]


def program_of(targets, feeds=()):
    """The optimised program of `targets`, as text of its buckets and as a program."""
    program = optimise(extract(rf.get_default_graph(), [], targets, list(feeds), [None] * len(feeds)))
    return buckets.describe(program), program


def on_rank_0(body, size=2):
    def with_graph(world):
        with rf.Graph().as_default():
            return body(world)

    return loopback.run(size, with_graph)[0]


def test_gradients_fill_buckets_in_the_order_in_which_they_become_ready(monkeypatch):
    monkeypatch.setenv("RINGFLOW_BUCKET_BYTES", "300")

    def body(world):
        text, program = program_of(*deep())
        order = [op.type for op in program.graph.get_operations() if op.type.startswith("_Bucket")]
        return text, order

    text, order = on_rank_0(body)
    assert text == ("bucket 0: 2 tensors, 288 bytes, float32 mean: allreduce/w2, allreduce/w1\n"
                    "bucket 1: 1 tensors, 128 bytes, float32 mean: allreduce/w0")
    assert order == ["_BucketReduce", "_BucketWait"] * 2


def test_collectives_run_in_one_order_that_starts_with_the_first_ready(monkeypatch):
    monkeypatch.setenv("RINGFLOW_BUCKET_BYTES", "128")

    def body(world):
        _, program = program_of(*deep())
        order = [op.name.split("/")[1] for op in program.notes["collectives"]]
        chained = [before in after.control_inputs
                   for before, after in zip(program.notes["collectives"], program.notes["collectives"][1:])]
        return order, chained

    assert on_rank_0(body) == (["w2", "w1", "w0"], [True, True])


def test_one_large_tensor_is_a_bucket_of_its_own(monkeypatch):
    monkeypatch.setenv("RINGFLOW_BUCKET_BYTES", "1")
    text = on_rank_0(lambda world: program_of(*deep())[0])
    assert [line.split(":")[1].split(",")[0] for line in text.splitlines()] == [" 1 tensors"] * 3


def test_dtypes_do_not_share_a_bucket():
    def body(world):
        x = rf.placeholder(rf.float32, [2])
        single, double = all_reduce(x), all_reduce(rf.cast(x, rf.float64))
        other = all_reduce(x * 2.0, "mean")
        return program_of([single.op, double.op, other.op], [x])[0]

    assert len(on_rank_0(body).splitlines()) == 3


def test_reductions_that_depend_on_each_other_do_not_share_a_bucket():
    def body(world):
        x = rf.placeholder(rf.float32, [2], name="x")
        a = all_reduce(x, name="a")
        b = all_reduce(a * 2.0, name="b")        # waits for a
        c = all_reduce(x * 3.0, name="c")        # free
        d = all_reduce(rf.cast(all_reduce(rf.cast(x, rf.float64), name="e"), rf.float32), name="d")
        text, _ = program_of([b.op, c.op, d.op], [x])
        return [sorted(line.split(": ")[-1].split(", ")) for line in text.splitlines()]

    groups = on_rank_0(body)
    assert ["a", "c"] in groups and ["b", "d"] in groups and ["e"] in groups and len(groups) == 3


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("bytes_", ["1", "40", "1000000"])
def test_values_do_not_depend_on_the_bucket_size(monkeypatch, bytes_, backend):
    monkeypatch.setenv("RINGFLOW_BUCKET_BYTES", bytes_)

    def body(world):
        x = rf.placeholder(rf.float32, [None, 3])
        tensors = [x[0], x[1] * 2.0, rf.reduce_sum(x), x[:0, 0]]
        tensors = [rf.reshape(t, n) for t, n in zip(tensors, ([3], [3, 1], [], [0]))]
        sums, means = [all_reduce(t) for t in tensors], [all_reduce(t, "mean") for t in tensors]
        with rf.Session(backend=backend) as session:
            for k in range(3):  # the second run writes the same memory
                rows = np.arange(6, dtype=np.float32).reshape(2, 3) * (world.rank + 1) + k
                got_sums, got_means = session.run([sums, means], {x: rows})
                every = [np.arange(6, dtype=np.float32).reshape(2, 3) * (r + 1) + k for r in range(world.size)]
                total = sum(every)
                wanted = [total[0], total[1, :, None] * 2, total.sum(), []]
                for s, m, w in zip(got_sums, got_means, wanted):
                    np.testing.assert_allclose(s, w, rtol=1e-6)
                    np.testing.assert_allclose(m, np.asarray(w) / world.size, rtol=1e-6)

    on_rank_0(body, size=3)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_fetched_values_stay_when_the_bucket_is_used_again(backend):
    def body(world):
        with rf.Graph().as_default():
            x = rf.placeholder(rf.float32, [1000])
            total = all_reduce(x * 1.0)
            with rf.Session(backend=backend) as session:
                first = session.run(total, {x: np.full(1000, 1)})
                session.run(total, {x: np.full(1000, 5)})
            return float(first[0]), float(first.sum())

    assert loopback.run(2, body) == [(2.0, 2000.0)] * 2


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_every_collective_op_gives_what_numpy_does(dtype, backend):
    def body(world):
        with rf.Graph().as_default():
            x = rf.placeholder(dtype, [None, 2])
            fetches = {op: all_reduce(x, op) for op in ("sum", "min", "max", "prod")}
            rows = rf.placeholder(dtype, [None, 2])
            fetches["gather"], fetches["root 1"] = all_gather(rows), broadcast(x, root=1)
            with rf.Session(backend=backend) as session:
                of = lambda r: (np.arange(6).reshape(3, 2) + 1 + r * 2).astype(dtype)  # noqa: E731
                got = session.run(fetches, {x: of(world.rank), rows: of(world.rank)[:world.rank]})
            every = np.stack([of(r) for r in range(world.size)])
            wanted = {"sum": every.sum(0), "min": every.min(0), "max": every.max(0), "prod": every.prod(0),
                      "gather": np.concatenate([of(r)[:r] for r in range(world.size)]), "root 1": of(1)}
            for op, want in wanted.items():
                np.testing.assert_array_equal(got[op], want, err_msg=op)

    loopback.run(3, body)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_gradient_of_an_allreduce_is_the_allreduce_of_the_gradient(backend):
    def body(world):
        with rf.Graph().as_default():
            x = rf.placeholder(rf.float32, [2])
            loss = rf.reduce_sum(all_reduce(x, "mean") * float(world.rank * 0 + 1) * x)
            gradient, = rf.gradients(loss, x)
            with rf.Session(backend=backend) as session:
                mine = np.array([1.0, 2.0]) * (world.rank + 1)
                return session.run(gradient, {x: mine})

    # L = sum over ranks of m * x_r, m the mean: dL/dx_r = m + mean of the x
    for got in loopback.run(2, body):
        np.testing.assert_allclose(got, [1.5 + 1.5, 3.0 + 3.0], rtol=1e-6)


def test_one_rank_needs_no_communication():
    with rf.Graph().as_default():
        x = rf.placeholder(rf.float32, [3])
        with rf.Session() as session:
            got = session.run([all_reduce(x, "mean"), all_gather(x), broadcast(x)], {x: [1, 2, 3]})
    np.testing.assert_array_equal(got, [[1, 2, 3]] * 3)


def test_wrong_arguments_are_told():
    with rf.Graph().as_default():
        x = rf.placeholder(rf.float32, [])
        with pytest.raises(InvalidArgumentError, match="op must be one of sum, mean"):
            all_reduce(x, "average")
        with pytest.raises(InvalidArgumentError, match="root must be a rank"):
            broadcast(x, root=1)
        with pytest.raises(InvalidArgumentError, match="it is a scalar"):
            all_gather(x)
        with pytest.raises(InvalidArgumentError, match="must be one of"):
            all_reduce(rf.constant([True]))
        with pytest.raises(InvalidArgumentError, match="no gradient for merge_op Max"):
            rf.gradients(all_reduce(x, "max"), x)
    assert dtypes.bool_ not in all_reduce.__globals__["REDUCIBLE"]


def test_graph_for_another_number_of_ranks_is_refused():
    def body(world):
        with rf.Graph().as_default() as graph:
            all_reduce(rf.constant([1.0]), name="r")
            return graph.as_graph_def().SerializeToString()

    data = loopback.run(2, body)[0]
    for backend in BACKENDS:
        with rf.Graph().as_default(), rf.Session(backend=backend) as session:
            rf.import_graph_def(data, name="")
            with pytest.raises(InvalidArgumentError, match="ranks"):
                session.run("r:0")


def test_ranks_meet_after_the_last_reader_of_a_result_in_place():
    def body(world):
        _, program = program_of(*deep())
        operations = program.graph.get_operations()
        (meet,) = (op for op in operations if op.type == "_RanksMeet")
        before, new = {meet}, [meet]
        while new:
            new = [p for op in new for p in predecessors(op) if p not in before]
            before.update(new)
        return all(op.attrs["in_place"] for op in operations if op.type == "_BucketWait"), before == set(operations)

    assert on_rank_0(body) == (True, True)


def test_ranks_with_private_memory_do_not_meet():
    def body(world):
        with rf.Graph().as_default():
            return [op.type for op in program_of(*deep())[1].graph.get_operations()]

    types = loopback.run(2, body, algorithm="ring")[0]
    assert "_BucketWait" in types and "_RanksMeet" not in types


def test_a_fetched_result_is_whole_though_another_rank_runs_ahead():
    def body(world):
        with rf.Graph().as_default():
            x = rf.placeholder(rf.float32, [200_000])
            total = all_reduce(x * 2.0)
            with rf.Session() as session:
                for step in range(60):
                    value = session.run(total, {x: np.full(200_000, step + world.rank, np.float32)})
                    np.testing.assert_array_equal(value, 4.0 * step + 2)

    loopback.run(2, body)
