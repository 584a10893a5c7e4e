"""TensorBoard reads what rf.summary.FileWriter writes."""
import hashlib
import json

import numpy as np
import ringflow as rf


def test_tensorboard_reads_scalars_histograms_images_and_the_graph(tensorflow, tmp_path):
    graph = rf.Graph()
    with graph.as_default(), rf.Session() as session:
        x = rf.placeholder(rf.float32, [None, 4, 6, 3], name="x")
        loss = rf.reduce_mean(x, name="mean")
        rf.summary.scalar("loss", loss)
        rf.summary.histogram("pixels", x)
        rf.summary.image("input", x, max_outputs=1)
        merged = rf.summary.merge_all()
        rng = np.random.default_rng(0)
        batches = [rng.standard_normal((2, 4, 6, 3)).astype(np.float32) for _ in range(4)]
        with rf.summary.FileWriter(str(tmp_path), graph) as writer:
            for step, batch in enumerate(batches):
                writer.add_summary(session.run(merged, {x: batch}), step)
    seen = json.loads(tensorflow("read_events.py", tmp_path))
    assert [step for step, _ in seen["scalars"]["loss"]] == [0, 1, 2, 3]
    np.testing.assert_allclose([v for _, v in seen["scalars"]["loss"]], [b.mean() for b in batches], rtol=1e-4)
    for (_, (least, most, count, total, squares, limits, counts)), b in zip(seen["histograms"]["pixels"], batches):
        assert (least, most, count) == (b.min(), b.max(), b.size)
        np.testing.assert_allclose([total, squares], [b.sum(), (b * b).sum()], rtol=1e-4, atol=1e-4)
        edges = np.array([-np.inf, *limits])
        np.testing.assert_array_equal(counts, np.histogram(b, edges)[0])
    ours = [v.image for e in rf.train.summary_iterator(writer.path) for v in e.summary.value if v.tag == "input/image"]
    assert seen["images"]["input/image"] == [
        [step, 6, 4, hashlib.sha256(image.encoded_image_string).hexdigest()] for step, image in enumerate(ours)]
    assert seen["nodes"] == sorted(op.name for op in graph.get_operations())
    assert seen["shapes"]["x"] == [[-1, 4, 6, 3]] and seen["shapes"]["mean"] == [[]]


def test_tensorflow_and_tensorboard_read_run_metadata(tensorflow, tmp_path):
    run_metadata = rf.RunMetadata()
    with rf.Graph().as_default(), rf.Session() as session:
        x = rf.placeholder(rf.float32, [3, 4], name="x")
        y = rf.reduce_sum(rf.tanh(x, name="h"), name="y")
        session.run(y, {x: np.ones((3, 4))}, rf.RunOptions(trace_level=rf.RunOptions.FULL_TRACE), run_metadata)
        with rf.summary.FileWriter(str(tmp_path / "logs"), session.graph) as writer:
            writer.add_run_metadata(run_metadata, "step 1", 1)
    (tmp_path / "run.pb").write_bytes(run_metadata.SerializeToString())
    ran = sorted(n.node_name for n in run_metadata.step_stats.dev_stats[0].node_stats)
    assert json.loads(tensorflow("read_events.py", tmp_path / "logs"))["runs"] == {"step 1": ran}
    calls = json.loads(tensorflow("trace_of.py", tmp_path / "run.pb"))
    assert [name for name, _ in calls] == ran and ["h", "Tanh"] in calls
