"""Meta graphs and graph files: written, read back, and what is refused."""
import os

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import DataLossError, InvalidArgumentError, NotFoundError
from ringflow.graph.files import graph_file, meta_graph
from ringflow.graph.graph import GraphKeys


def build():
    """A small trained model; returns its train op."""
    x = rf.placeholder(rf.float32, [None, 2], name="x")
    w = rf.Variable(np.array([[1.0], [2.0]], np.float32), name="w")
    b = rf.Variable(0.5, name="b", use_resource=True, trainable=False)
    loss = rf.reduce_mean(rf.square(rf.matmul(x, w) + b), name="loss")
    train = rf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, rf.train.create_global_step())
    for key, item in (("outputs", loss), ("outputs", train), ("sizes", 3), ("rates", 0.5), ("words", "a"),
                      ("words", b"b")):
        rf.add_to_collection(key, item)
    return train


def steps(graph, prefix=""):
    """Losses of three steps and the variables after them, all by the collections."""
    loss, train = graph.get_collection("outputs")
    feeds = {f"{prefix}x:0": np.array([[1, 2], [3, 4]], np.float32)}
    with graph.as_default(), rf.Session(graph=graph) as session:
        session.run(rf.global_variables_initializer())
        losses = [session.run([loss, train], feeds)[0] for _ in range(3)]
        return losses, session.run([v.value() for v in rf.global_variables()])


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("scope", [None, "again"])
def test_a_meta_graph_goes_on_as_the_graph_it_came_from(tmp_path, as_text, scope):
    path = str(tmp_path / "model.meta")
    first = rf.Graph()
    with first.as_default():
        build()
        rf.train.export_meta_graph(path, as_text=as_text)
    second = rf.Graph()
    with second.as_default():
        assert rf.train.import_meta_graph(path, import_scope=scope) is None
    prefix = f"{scope}/" if scope else ""
    assert [v.op.name for v in second.get_collection("variables")] == [
        prefix + v.op.name for v in first.get_collection("variables")]
    assert [v.op.name for v in second.get_collection("trainable_variables")] == [prefix + "w"]
    assert second.get_collection("trainable_variables")[0] is second.get_collection("variables")[0]
    assert second.get_collection(GraphKeys.GLOBAL_STEP)[0] in second.get_collection("variables")
    assert [second.get_collection(k) for k in ("sizes", "rates", "words")] == [[3], [0.5], ["a", "b"]]
    (losses, values), (losses_again, values_again) = steps(first), steps(second, prefix)
    assert losses == losses_again
    for a, b in zip(values, values_again):
        np.testing.assert_array_equal(a, b)
    with second.as_default(), rf.Session() as session:  # what needs more than names
        w = rf.global_variables()[0]
        w.load(np.zeros((2, 1), np.float32), session)
        assert session.run(w).tolist() == [[0.0], [0.0]]


def test_devices_are_cleared_and_collections_chosen_on_request():
    with rf.Graph().as_default():
        with rf.device("/cpu:0"):
            build()
        meta = rf.train.export_meta_graph(clear_devices=True, collection_list=["sizes"])
        assert not any(node.device for node in meta.graph_def.node) and list(meta.collection_def) == ["sizes"]
        whole = rf.train.export_meta_graph()
        assert any(node.device for node in whole.graph_def.node)
        assert {op.name for op in whole.meta_info_def.stripped_op_list.op} == {n.op for n in whole.graph_def.node}
    with rf.Graph().as_default() as graph:
        rf.train.import_meta_graph(whole, clear_devices=True)
        assert not any(op.device for op in graph.get_operations())


def test_what_no_file_holds_is_left_out_with_a_warning():
    with rf.Graph().as_default():
        build()
        rf.add_to_collection("odd", object())
        with pytest.warns(UserWarning, match="'odd' is left out: no file holds object"):
            meta = rf.train.export_meta_graph()
    assert "odd" not in meta.collection_def and GraphKeys.TRAIN_STEPS not in meta.collection_def


def test_another_module_says_how_its_collection_is_written(monkeypatch):
    monkeypatch.setattr(meta_graph, "FORMS", dict(meta_graph.FORMS))
    proto = meta_graph.pb.QueueRunnerDef
    meta_graph.register("queue_runners", proto, lambda item: proto(queue_name=item[0]),
                        lambda message, scope: (meta_graph.scoped(message.queue_name, scope),))
    with rf.Graph().as_default():
        rf.no_op()
        rf.add_to_collection("queue_runners", ("q",))
        meta = rf.train.export_meta_graph()
    with rf.Graph().as_default():
        rf.train.import_meta_graph(meta.SerializeToString(), import_scope="in")
        assert rf.get_collection("queue_runners") == [("in/q",)]


# ---- files
@pytest.mark.parametrize("as_text", [False, True])
def test_a_written_graph_is_read_whatever_its_form(tmp_path, as_text):
    with rf.Graph().as_default() as graph:
        build()
        path = rf.train.write_graph(graph, str(tmp_path / "new"), "graph.pb", as_text)
    assert path == str(tmp_path / "new" / "graph.pb") and os.listdir(tmp_path / "new") == ["graph.pb"]
    assert graph_file.read_graph_file(path).graph_def == graph.as_graph_def()
    with pytest.raises(InvalidArgumentError, match="received int"):
        rf.train.write_graph(3, str(tmp_path), "x")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "g.pb").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError), rf.Graph().as_default() as graph:
        rf.no_op()
        rf.train.write_graph(graph, str(tmp_path), "g.pb")
    assert os.listdir(tmp_path) == ["g.pb"] and (tmp_path / "g.pb").read_bytes() == b"old"


@pytest.mark.parametrize("content, says", [(b"", "is empty"), (b"\x00\x01\x02", "neither a GraphDef"),
                                           (b"node { name: ", "neither a GraphDef"), (b"hello", "neither a GraphDef")])
def test_what_is_no_graph_file_is_refused_with_its_name(tmp_path, content, says):
    path = tmp_path / "bad.pb"
    path.write_bytes(content)
    with pytest.raises(DataLossError, match=f"bad.pb.*{says}"):
        graph_file.read_graph_file(str(path))
    with pytest.raises(NotFoundError, match="cannot be read: No such file"):
        graph_file.read_graph_file(str(tmp_path / "none.pb"))


def test_damaged_files_never_end_in_anything_but_an_error(tmp_path):
    with rf.Graph().as_default() as graph:
        build()
        data = rf.train.export_meta_graph().SerializeToString()
        plain = graph.as_graph_def().SerializeToString()
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "g.pb", 0
    for whole in (data, plain):
        for cut in rng.integers(0, len(whole), 60):
            changed = bytearray(whole)
            changed[cut] ^= 1 << int(rng.integers(8))
            for bad in (whole[:cut], bytes(changed)):
                path.write_bytes(bad)
                try:
                    graph_file.read_graph_file(str(path))
                except DataLossError:
                    refused += 1
    assert refused > 60
