"""Variables that ranks hold in common: they train as private ones do, whatever the optimizer."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import loopback, shared_variables
from ringflow.graph.errors import InvalidArgumentError
from test_strategy_allreduce import CASES, STEPS, train


@pytest.fixture(autouse=True)
def on(monkeypatch):
    monkeypatch.setenv("RINGFLOW_SHARED_VARIABLES", "1")


@pytest.mark.parametrize("case, size", [*((case, 2) for case in CASES), ("adam", 3)])
def test_ranks_that_update_slices_train_as_one_rank(case, size, monkeypatch):
    sliced = []
    real = shared_variables.slice_of
    monkeypatch.setattr(shared_variables, "slice_of", lambda op, world: sliced.append(op.name) or real(op, world))
    (alone,) = loopback.run(1, lambda world: train(world, case, "cpp"))
    first, *others = loopback.run(size, lambda world: train(world, case, "cpp"))
    assert sliced
    for name, value in alone.items():
        np.testing.assert_allclose(first[name], value, rtol=1e-5, atol=1e-5, err_msg=f"{name} after {STEPS} steps")
        for other in others:
            np.testing.assert_array_equal(other[name], first[name], err_msg=name)


def decayed(world, late, steps=5):
    """The variable after some steps; `late`: something else writes it, which the graph learns only after the first."""
    with rf.Graph().as_default():
        w = rf.Variable(np.full((40, 40), 2.0, np.float32), name="w")
        train_op = rf.distribute(rf.train.MomentumOptimizer(0.1, 0.9).minimize(rf.reduce_sum(w * w)))
        decay = None if late else w.assign_sub(0.25 * w)
        with rf.Session() as session:
            session.run(rf.global_variables_initializer())
            session.run(train_op)
            decay = decay if decay is not None else w.assign_sub(0.25 * w)
            for _ in range(steps):
                session.run(train_op)
                session.run(decay)
            return session.run(w)


def test_a_variable_that_somebody_else_writes_stays_private():
    (alone,) = loopback.run(1, lambda world: decayed(world, late=False))
    for got in loopback.run(2, lambda world: decayed(world, late=False)):
        np.testing.assert_allclose(got, alone, rtol=1e-6)


def test_writing_a_shared_variable_on_every_rank_is_refused():
    with pytest.raises(InvalidArgumentError, match="AssignSub.*would write variable 'w' once on every rank.*"
                                                   "RINGFLOW_SHARED_VARIABLES=0"):
        loopback.run(2, lambda world: decayed(world, late=True))


def test_an_assignment_on_all_ranks_is_one_to_shared_memory():
    def body(world):
        with rf.Graph().as_default():
            w = rf.Variable(np.ones(5000, np.float32), name="w")
            train_op = rf.distribute(rf.train.GradientDescentOptimizer(0.5).minimize(rf.reduce_sum(w)))
            with rf.Session() as session:
                session.run(rf.global_variables_initializer())
                session.run(train_op)
                w.load(np.full(5000, 7.0, np.float32), session)
                session.run(train_op)
                return session.run(w)

    for got in loopback.run(3, body):
        np.testing.assert_array_equal(got, 6.5)


def test_variables_stay_private_where_shared_memory_is_short(monkeypatch):
    monkeypatch.setattr(shared_variables, "_free_bytes", lambda: 40)
    sliced = []
    monkeypatch.setattr(shared_variables, "slice_of", lambda op, world: sliced.append(op.name))
    (alone,) = loopback.run(1, lambda world: train(world, "momentum", "cpp"))
    for got in loopback.run(2, lambda world: train(world, "momentum", "cpp")):
        for name, value in alone.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert not sliced
