"""Variables that ranks hold in common: they train as private ones do, whatever the optimizer."""
import numpy as np
import pytest
from ringflow.collectives import loopback, shared_variables
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
