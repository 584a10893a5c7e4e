"""TensorFlow goes on training from our meta graph."""
import json

import numpy as np
import ringflow as rf


def test_tensorflow_trains_from_a_meta_graph(tensorflow, tmp_path):
    path = str(tmp_path / "model.meta")
    with rf.Graph().as_default() as graph:
        x = rf.placeholder(rf.float32, [None, 2], name="x")
        w = rf.Variable(np.ones((2, 1), np.float32), name="w")
        b = rf.Variable(np.zeros(1, np.float32), name="b", use_resource=True)
        loss = rf.reduce_mean(rf.square(rf.matmul(x, w) + b - 3.0))
        train = rf.train.MomentumOptimizer(0.01, 0.9).minimize(loss, rf.train.create_global_step())
        rf.add_to_collection("outputs", loss)
        rf.add_to_collection("outputs", train)
        ordered = rf.graph_util.order_updates(graph.as_graph_def(), [loss.name, train.name])
        rf.train.export_meta_graph(path, graph_def=ordered)
        feeds = {x: np.arange(6, dtype=np.float32).reshape(3, 2)}
        with rf.Session() as session:
            session.run(rf.global_variables_initializer())
            losses = [float(session.run([loss, train], feeds)[0]) for _ in range(3)]
            values = [session.run(v).tolist() for v in (w, b)]
        variables = [v.name for v in rf.global_variables()]
    theirs = json.loads(tensorflow("train_meta_graph.py", path))
    assert sorted(theirs["variables"]) == sorted(variables)
    np.testing.assert_allclose(theirs["losses"], losses, rtol=1e-6)
    for name, value in zip(("w:0", "b:0"), values):
        np.testing.assert_allclose(theirs["values"][name], value, rtol=1e-5, atol=1e-6)
