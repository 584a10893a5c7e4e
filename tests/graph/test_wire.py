"""GraphDef: round trips, import rules, corrupt input."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import AlreadyExistsError, DataLossError, Error, InvalidArgumentError, NotFoundError
from ringflow.graph.files import wire
from ringflow.graph.proto import graph_pb2 as pb


def two_layers():
    g = rf.Graph()
    with g.as_default():
        x = rf.placeholder(rf.float32, [None, 4], name="x")
        w = rf.Variable(np.full((4, 2), 0.5, np.float32), name="w")
        with rf.device("/cpu:0"), rf.control_dependencies([rf.no_op("first")]):
            y = rf.nn.softmax(rf.matmul(x, w, transpose_b=False), name="y")
        rf.reduce_mean(y, [0], name="mean")
    return g


def test_round_trip_is_exact():
    data = two_layers().as_graph_def().SerializeToString(deterministic=True)
    g = rf.Graph()
    with g.as_default():
        rf.import_graph_def(data, name="")
    assert g.as_graph_def().SerializeToString(deterministic=True) == data


def test_imported_graph_computes_the_same_under_a_prefix():
    data = two_layers().as_graph_def()
    with rf.Graph().as_default() as g:
        y, init = rf.import_graph_def(data, name="net", return_elements=["mean:0", "w/Assign"])
        assert y.name == "net/mean:0"
        with rf.Session(graph=g) as s:
            s.run(init)
            np.testing.assert_allclose(s.run(y, {"net/x:0": np.ones((3, 4))}), [0.5, 0.5])


def test_input_map_replaces_tensors():
    data = two_layers().as_graph_def()
    with rf.Graph().as_default() as g:
        mine = rf.constant(np.ones((3, 4), np.float32), name="mine")
        y, init = rf.import_graph_def(data, {"x:0": mine}, ["mean:0", "w/Assign"], name="")
        with rf.Session(graph=g) as s:
            s.run(init)
            np.testing.assert_allclose(s.run(y), [0.5, 0.5])


def one_node(**fields):
    message = pb.GraphDef()
    message.node.add(**fields)
    return message


@pytest.mark.parametrize("message, error, text", [
    (one_node(name="a", op="NoSuchOp"), InvalidArgumentError, "no op is named 'NoSuchOp'"),
    (one_node(name="a", op="Identity", input=["b"]), NotFoundError, "'a' has the input 'b'"),
    (one_node(name="a", op="NoOp", input=["^a"]), InvalidArgumentError, "cycle through 'a'"),
    (one_node(name="a", op="Placeholder"), InvalidArgumentError, "lacks the attr 'dtype'|attr 'dtype'"),
])
def test_bad_nodes_are_named(message, error, text):
    with rf.Graph().as_default(), pytest.raises(error, match=text):
        rf.import_graph_def(message, name="")


def test_duplicate_names_are_refused():
    message = one_node(name="a", op="NoOp")
    message.node.add(name="a", op="NoOp")
    with rf.Graph().as_default(), pytest.raises(AlreadyExistsError, match="'a'"):
        rf.import_graph_def(message, name="")


def test_unknown_attrs_are_refused_by_name_unless_they_hold_the_default():
    data = two_layers().as_graph_def()
    node = next(n for n in data.node if n.op == "MatMul")
    node.attr["grad_a"].b = False
    node.attr["_private"].s = b"kept"
    with rf.Graph().as_default() as g:
        rf.import_graph_def(data, name="")
        assert g.get_operation_by_name(node.name).attrs["_private"] == "kept"
    node.attr["speed"].i = 3
    with rf.Graph().as_default(), pytest.raises(InvalidArgumentError, match="'speed'"):
        rf.import_graph_def(data, name="")


@pytest.mark.parametrize("proto, want", [
    (dict(dtype=1, float_val=[1.5]), np.full((2, 3), 1.5, np.float32)),
    (dict(dtype=3, int_val=[1, 2]), np.array([[1, 2, 2], [2, 2, 2]], np.int32)),
    (dict(dtype=9), np.zeros((2, 3), np.int64)),
    (dict(dtype=19, half_val=[0x3C00]), np.ones((2, 3), np.float16)),
    (dict(dtype=10, bool_val=[True, False]), np.array([[1, 0, 0], [0, 0, 0]], bool)),
])
def test_short_value_lists_repeat_their_last_value(proto, want):
    message = pb.TensorProto(**proto)
    for d in (2, 3):
        message.tensor_shape.dim.add(size=d)
    got = wire.tensor_from_proto(message)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_forged_sizes_are_data_loss_not_memory():
    message = pb.TensorProto(dtype=1, tensor_content=b"1234")
    message.tensor_shape.dim.add(size=1 << 40)
    with pytest.raises(DataLossError):
        wire.tensor_from_proto(message)
    message = pb.TensorProto(dtype=1, float_val=[1.0])
    message.tensor_shape.dim.add(size=1 << 60)
    with pytest.raises(DataLossError):
        wire.tensor_from_proto(message)


def test_corrupt_and_truncated_bytes_never_crash():
    data = two_layers().as_graph_def().SerializeToString()
    rng = np.random.default_rng(1)
    outcomes = set()
    for i in range(400):
        if i % 2:
            bad = data[: rng.integers(0, len(data))]
        else:
            array = np.frombuffer(data, np.uint8).copy()
            array[rng.integers(0, len(array), 3)] = rng.integers(0, 256, 3)
            bad = array.tobytes()
        with rf.Graph().as_default():
            try:
                rf.import_graph_def(bad, name="")
                outcomes.add("read")
            except (Error, TypeError) as e:
                outcomes.add(type(e).__name__)
    assert "DataLossError" in outcomes


def test_text_dump_shows_op_inputs_attrs_shapes():
    text = rf.graph_text(two_layers())
    assert "MatMul(x, w/read, ^first)" in text
    assert "-> (?, 2) float32" in text
    assert "@/device:CPU:0" in text
