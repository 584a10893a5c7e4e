"""Graphs made here load and run in TensorFlow with equal results: while they train, and frozen.

    RINGFLOW_TENSORFLOW_PYTHON=... python -m pytest tests/tensorflow -m "slow or not slow"
"""
import pickle

import numpy as np
import pytest
import ringflow as rf

from .graphs import BUILDERS, workload, workloads

SMALL = sorted(BUILDERS)
WORKLOADS = list(workloads.WORKLOADS)


def prepare(folder, name, build, frozen=False):
    """Writes a graph and its runs; returns what ringflow fetches."""
    graph = rf.Graph()
    with graph.as_default(), rf.Session() as session:
        runs = build()
        values = [session.run(fetches, feeds) for feeds, fetches in runs]
        fetches = sorted({f for _, fetched in runs for f in fetched if "init" not in f and "Assign" not in f})
        if frozen:
            feeds, (loss, *_) = runs[-1]
            runs, values = [(feeds, [loss])], [session.run([loss], feeds)]
            graph_def = rf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [loss])
        else:
            graph_def = rf.graph_util.order_updates(graph.as_graph_def(), fetches)
    rf.train.write_graph(graph_def, str(folder), f"{name}.pb", as_text=False)
    (folder / f"{name}.pickle").write_bytes(pickle.dumps(runs))
    return values


def same(ours, theirs, tolerance, what):
    assert isinstance(theirs, list), f"{what}: {theirs}"
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            where = f"{what}: run {k}, fetch {i}"
            if x is None or isinstance(x, bytes):
                assert x == y, where
                continue
            x, y = np.asarray(x), np.asarray(y)
            assert x.dtype == y.dtype and x.shape == y.shape, where
            if x.dtype.kind == "f":
                scale = max(float(np.abs(y).max(initial=0)), 1e-30)
                assert np.abs(x - y).max(initial=0) <= tolerance * scale, f"{where}: {np.abs(x - y).max()} of {scale}"
            else:
                np.testing.assert_array_equal(x, y, where)


def check(tensorflow, folder, names, build, tolerance, **how):
    ours = {name: prepare(folder, name, lambda name=name: build(name), **how) for name in names}
    tensorflow("run_graphs.py", folder, *names)
    for name in names:
        same(ours[name], pickle.loads((folder / f"{name}.tf.pickle").read_bytes()), tolerance, name)


def test_graphs_run_in_tensorflow_with_equal_results(tensorflow, tmp_path):
    check(tensorflow, tmp_path, SMALL, lambda name: BUILDERS[name](), 2e-5)


@pytest.mark.slow
def test_workloads_train_in_tensorflow_with_equal_losses(tensorflow, tmp_path):
    check(tensorflow, tmp_path, WORKLOADS, workload, 1e-4)


@pytest.mark.slow
def test_frozen_workloads_give_the_same_in_tensorflow(tensorflow, tmp_path):
    check(tensorflow, tmp_path, WORKLOADS, workload, 1e-5, frozen=True)
