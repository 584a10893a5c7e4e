"""Consensus: ranks that hold different graphs learn the first node that differs, all of them, before the first step."""
import time

import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import consensus, loopback
from ringflow.graph.errors import GraphError
from ringflow.graph.session import BACKENDS

UNITS = 5


def build(edit=None, seed=0, rate=0.1, units=UNITS, extra=False, resource=False):
    """A small model. `edit(graph)` changes it before it is distributed."""
    x = rf.placeholder(rf.float32, [None, 4], name="x")
    rng = np.random.default_rng(seed)
    w1 = rf.Variable(rng.standard_normal((4, units)).astype(np.float32), name="w1", use_resource=resource)
    w2 = rf.Variable(rng.standard_normal((units, 1)).astype(np.float32), name="w2", use_resource=resource)
    h = rf.tanh(rf.matmul(x, w1, name="hidden"), name="activation")
    if extra:
        h = rf.identity(rf.abs(h, name="extra"))
    loss = rf.reduce_mean(rf.square(rf.matmul(h, w2, name="output")), name="loss")
    train_op = rf.train.GradientDescentOptimizer(rate).minimize(loss)
    if edit is not None:
        edit(rf.get_default_graph())
    return x, rf.distribute(train_op)


def outcome(world, backend=None, **options):
    """None, or the text of the error that the first step ends with on this rank."""
    with rf.Graph().as_default():
        x, train_op = build(**options)
        with rf.Session(backend=backend, config=rf.ConfigProto(allow_soft_placement=True)) as session:
            session.run(rf.global_variables_initializer())
            try:
                for _ in range(3):
                    session.run(train_op, {x: np.ones((2, 4))})
            except GraphError as e:
                return str(e)
    return None


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("size", [2, 3])
def test_every_rank_is_told_the_node_and_all_versions_of_it(size, backend):
    texts = loopback.run(size, lambda w: outcome(w, backend, units=UNITS + (w.rank == 1)))
    for rank, text in enumerate(texts):
        assert f"[consensus] rank {rank}/{size}: the ranks hold different graphs" in text
        assert "'w1'" in text and "test_consensus.py:" in text and "Fix: build the same graph" in text
        assert "(4, 5) float32" in text and "(4, 6) float32" in text and "rank 1 has w1 = VariableV2" in text
    if size == 3:
        assert "ranks 0, 2 have w1 = VariableV2" in texts[0]


@pytest.mark.parametrize("option", [{"seed": 1}, {}])
def test_initial_values_and_feeds_may_differ(option):
    assert loopback.run(2, lambda w: outcome(w, **(option if w.rank else {}))) == [None, None]


def test_seeds_and_devices_may_differ():
    def edit(graph, rank):
        for op in graph.get_operations():
            op.device = f"/job:worker/task:{rank}"

    assert loopback.run(2, lambda w: outcome(w, edit=lambda g: edit(g, w.rank))) == [None, None]


@pytest.mark.parametrize("resource", [False, True])
def test_value_of_a_constant_may_not_differ(resource):
    texts = loopback.run(2, lambda w: outcome(w, rate=0.1 * (w.rank + 1), resource=resource))
    assert all("learning_rate" in t and "0.1" in t and "0.2" in t for t in texts), texts


def test_extra_node_on_one_rank_is_named():
    texts = loopback.run(2, lambda w: outcome(w, extra=w.rank == 1))
    assert all("extra = Abs(activation)" in t for t in texts), texts


def test_rank_whose_graph_ends_first_is_said_to():
    def chains(world):
        longer = consensus._chain([f"n{i}: NoOp" for i in range(9 + 4 * world.rank)])
        return consensus._first_difference(world, longer)

    assert loopback.run(2, chains) == [9, 9]
    versions = [None, ("n9: NoOp", "n9 = NoOp()", " Created at a.py:1.")]
    text = consensus._report(loopback.run(1, lambda w: w)[0], 9, versions)
    assert "rank 0 has no further node" in text and "rank 1 has n9 = NoOp() Created at a.py:1." in text


@pytest.mark.parametrize("length", [1, 2, 3, 64, 1000])
def test_bisection_finds_the_first_difference_anywhere(length):
    def find(world):
        found = []
        for place in sorted({0, length // 3, length - 1}):
            names = [f"n{i}" for i in range(length)]
            if world.rank == 2:
                names[place] += "'"
            found.append((place, consensus._first_difference(world, consensus._chain(names))))
        return found

    for found in loopback.run(3, find):
        assert all(place == told for place, told in found), found


def test_random_edits_are_named_on_both_ranks():
    """Any attr, input or name that is changed on one rank is what the error names."""
    rng = np.random.default_rng(0)
    with rf.Graph().as_default() as graph:
        build()
        count = len(graph.get_operations())
    done = 0
    for _ in range(60):
        number = int(rng.integers(count))
        name = []

        def edit(graph, number=number, name=name):
            op = graph.get_operations()[number]
            if op.type in ("Const", "Fill", "Assign", "Placeholder"):
                return
            name.append(op.name)
            graph._by_name.pop(op.name)
            op.name += "_edited"
            graph._by_name[op.name] = op

        texts = loopback.run(2, lambda w, edit=edit: outcome(w, edit=edit if w.rank else None))
        if not name or texts == [None, None]:  # a node that the train op does not need
            continue
        done += 1
        assert all(f"{name[0]}_edited" in t and f"rank 0 has {name[0]} = " in t for t in texts), (name, texts)
    assert done > 15


def test_plans_that_were_agreed_on_once_are_not_compared_again():
    def count(world):
        calls = []
        gather = world.allgather
        world.allgather = lambda x: (calls.append(1), gather(x))[1]
        with rf.Graph().as_default():
            x, train_op = build()
            for _ in range(2):
                with rf.Session() as session:
                    session.run(rf.global_variables_initializer())
                    for rows in (2, 3, 4):
                        session.run(train_op, {x: np.ones((rows, 4))})
        return len(calls)

    assert loopback.run(2, count) == [2, 2]  # the start and the train op


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_one_rank_may_fetch_more_than_the_others(backend):
    """Rank 0 prints the loss and a norm now and then; nobody needs to know."""
    def body(world):
        with rf.Graph().as_default() as graph:
            x, train_op = build()
            norm = rf.add_n([rf.reduce_sum(rf.square(v)) for v in rf.trainable_variables()])
            with rf.Session(backend=backend) as session:
                session.run(rf.global_variables_initializer())
                for step in range(4):
                    more = [graph.get_tensor_by_name("loss:0"), norm] if world.rank == 0 and step % 2 else []
                    session.run([train_op, more], {x: np.ones((2, 4))})
                return session.run("w1:0")

    np.testing.assert_array_equal(*loopback.run(2, body))


def test_hash_is_fast_enough_for_large_graphs():
    def seconds(world):
        with rf.Graph().as_default() as graph:
            x = rf.placeholder(rf.float32, [None, 4])
            w = rf.Variable(np.ones((4, 4), np.float32))
            h = x
            for _ in range(500):
                h = rf.tanh(rf.matmul(h, w))
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(rf.reduce_sum(h)))
            from ringflow.graph.passes import extract, optimise

            program = optimise(extract(graph, [], [train_op], [x], [None]))
            begin = time.thread_time()
            consensus.check_consensus(program)
            return time.thread_time() - begin, len(program.source_ops)

    for took, nodes in loopback.run(2, seconds):
        assert nodes > 2500 and took < 2.0, f"{took:.2f} s of CPU time"


def test_under_mpirun_both_ranks_report_and_the_exit_code_is_not_zero(mpirun):
    ran = mpirun(2, """
import numpy as np, ringflow as rf
x = rf.placeholder(rf.float32, [None, 4], name="x")
w = rf.Variable(np.zeros((4, 2), np.float32), name="w")
h = rf.matmul(x, w)
h = rf.tanh(h, name="act") if rf.rank() == 0 else rf.sigmoid(h, name="act")
train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(rf.reduce_mean(h)))
with rf.Session() as session:
    session.run(rf.global_variables_initializer())
    session.run(train_op, {x: np.ones((2, 4))})
""")
    assert ran.returncode != 0
    for version in ("rank 0 has act = Tanh(MatMul)", "rank 1 has act = Sigmoid(MatMul)"):
        assert version in ran.stderr, ran.stderr
    assert "script.py:6" in ran.stderr
