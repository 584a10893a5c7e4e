"""Graph, operations, tensors: names, scopes, devices, control dependencies, errors at build."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import GraphError, InvalidArgumentError, NotFoundError

pytestmark = pytest.mark.usefixtures("graph")


def test_names_are_made_unique_within_scopes():
    a, b = rf.constant(1.0, name="c"), rf.constant(1.0, name="c")
    with rf.name_scope("s") as first:
        c = rf.constant(1.0, name="c")
    with rf.name_scope("s"):
        d = rf.constant(1.0, name="c")
    with rf.name_scope(first):
        e = rf.constant(1.0, name="c")
    assert [t.name for t in (a, b, c, d, e)] == ["c:0", "c_1:0", "s/c:0", "s_1/c:0", "s/c_1:0"]


def test_bad_names_are_refused():
    with pytest.raises(InvalidArgumentError, match="not a valid operation name"):
        rf.constant(1.0, name="a b")
    with pytest.raises(InvalidArgumentError, match="not a valid scope name"):
        with rf.name_scope("a b"):
            pass


def test_lookup_by_name_suggests_near_names(graph):
    rf.constant(1.0, name="weights")
    assert graph.get_tensor_by_name("weights:0").op.name == "weights"
    with pytest.raises(NotFoundError, match="Near: weights"):
        graph.get_operation_by_name("weigths")
    with pytest.raises(NotFoundError, match="no output 1"):
        graph.get_tensor_by_name("weights:1")


def test_inner_device_scope_wins_and_completes_the_outer_one():
    with rf.device("/job:worker/task:3"):
        with rf.device("/gpu:1"):
            a = rf.constant(1.0)
        with rf.device("/task:5/cpu:0"):
            b = rf.constant(1.0)
        with rf.device(None):
            c = rf.constant(1.0)
    assert a.device == "/job:worker/task:3/device:GPU:1"
    assert b.device == "/job:worker/task:5/device:CPU:0"
    assert c.device == ""


def test_device_name_that_cannot_be_read_says_so():
    with pytest.raises(InvalidArgumentError, match="cannot read 'nonsense'"):
        with rf.device("/nonsense"):
            pass


def test_control_dependencies_nest_and_clear():
    a, b = rf.no_op("a"), rf.no_op("b")
    with rf.control_dependencies([a]):
        with rf.control_dependencies([b]):
            c = rf.no_op("c")
        with rf.control_dependencies(None):
            d = rf.no_op("d")
    assert c.control_inputs == [a, b]
    assert d.control_inputs == []


def test_shape_error_names_dimension_values_and_line():
    x, w = rf.placeholder(rf.float32, [32, 784], name="x"), rf.placeholder(rf.float32, [512, 10], name="w")
    with pytest.raises(InvalidArgumentError) as e:
        rf.matmul(x, w)
    text = str(e.value)
    assert text.startswith("[MatMul]") and "(32, 784)" in text and "(512, 10)" in text and "test_graph.py:" in text


def test_dtype_error_names_both_types():
    with pytest.raises(InvalidArgumentError, match=r"float64.*|float32.*"):
        rf.constant(1.0, rf.float32) + rf.constant(1.0, rf.float64)


def test_tensor_of_another_graph_is_refused():
    with rf.Graph().as_default():
        other = rf.constant(1.0)
    with pytest.raises(GraphError, match="another graph"):
        rf.constant(1.0) + other


def test_finalized_graph_refuses_new_nodes(graph):
    rf.constant(1.0)
    graph.finalize()
    with pytest.raises(RuntimeError, match="Graph is finalized and cannot be modified."):
        rf.constant(2.0)


def test_symbolic_tensors_have_no_truth_value_and_no_array():
    x = rf.placeholder(rf.float32, [3])
    with pytest.raises(TypeError, match="truth value"):
        bool(x > 0)
    with pytest.raises(TypeError, match="symbolic"):
        np.asarray(x)


def test_python_and_numpy_operands_take_the_tensors_dtype():
    x = rf.constant([1.0, 2.0], rf.float64)
    assert (2 * x).dtype is rf.float64
    assert (np.float32(2) + x).dtype is rf.float64
    i = rf.constant([1, 2], rf.int64)
    assert (i + 1).dtype is rf.int64
    with pytest.raises(InvalidArgumentError, match="float"):
        i + 1.5


def test_unknown_arguments_of_ops_are_type_errors():
    with pytest.raises(TypeError, match="no argument 'transpose'"):
        rf.nn.relu_op(rf.constant([1.0]), transpose=True) if hasattr(rf.nn, "relu_op") else rf.graph.opdef.OPS["Relu"](
            rf.constant([1.0]), transpose=True)


def test_collections_keep_order_and_filter_by_scope():
    with rf.name_scope("a"):
        x = rf.constant(1.0)
    y = rf.constant(2.0, name="b")
    rf.add_to_collection("things", x)
    rf.add_to_collection("things", y)
    assert rf.get_collection("things") == [x, y]
    assert rf.get_collection("things", scope="a/") == [x]


def test_reset_default_graph_inside_a_graph_block_is_refused():
    with pytest.raises(GraphError, match="leave the block"):
        rf.reset_default_graph()


def test_attrs_without_default_may_follow_the_inputs_by_position():
    parts = rf.dynamic_partition(rf.constant([1.0, 2.0, 3.0]), [0, 1, 0], 2)
    with rf.Session() as session:
        assert [p.tolist() for p in session.run(parts)] == [[1.0, 3.0], [2.0]]
    with pytest.raises(TypeError, match=r"3 arguments by position \(data, partitions, num_partitions\): 4 were given"):
        rf.dynamic_partition(rf.constant([1.0]), [0], 2, "parts")
    with pytest.raises(TypeError, match="'num_partitions' twice"):
        rf.dynamic_partition(rf.constant([1.0]), [0], 2, num_partitions=2)
