"""Freezing, extracting and ordering graph files."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import dtypes
from ringflow.graph.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ringflow.graph.opdef import OPS

pytestmark = pytest.mark.usefixtures("graph")


def run_file(graph_def, fetches, feeds):
    with rf.Graph().as_default() as graph:
        rf.import_graph_def(graph_def, name="")
        with rf.Session(graph=graph) as session:
            return session.run(fetches, feeds)


def ops_of(graph_def):
    return {node.op for node in graph_def.node}


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_frozen_graph_gives_the_trained_values_without_variables(graph, use_resource):
    x = rf.placeholder(rf.float32, [None, 3], name="x")
    w = rf.Variable(np.ones((3, 2), np.float32), name="w", use_resource=use_resource)
    table = rf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2), name="table", use_resource=use_resource)
    y = rf.identity(rf.matmul(x, w) + rf.gather(table, [1, 3, 1]), name="y")
    train = rf.train.GradientDescentOptimizer(0.1).minimize(rf.reduce_sum(rf.square(y)))
    feeds = {"x:0": np.arange(9, dtype=np.float32).reshape(3, 3)}
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        session.run(train, feeds)
        expected = session.run(y, feeds)
        frozen = rf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
    assert not ops_of(frozen) & {"VariableV2", "VarHandleOp", "ReadVariableOp", "ApplyGradientDescent"}
    np.testing.assert_array_equal(run_file(frozen, "y:0", feeds), expected)


def test_handles_are_frozen_behind_gathers_shapes_and_tests_of_initialisation(graph):
    table = rf.Variable(np.arange(12, dtype=np.float64).reshape(4, 3), name="t", use_resource=True)
    rows = OPS["ResourceGather"](table.handle, np.array([2, 0], np.int64), dtype=dtypes.float64, name="rows")
    shape = OPS["VariableShape"](table.handle, name="shape")
    ready = OPS["VarIsInitializedOp"](table.handle, name="ready")
    fetches = [rows.name, shape.name, ready.name]
    with rf.Session() as session:
        session.run(table.initializer)
        frozen = rf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), fetches)
    assert ops_of(frozen) == {"Const", "GatherV2", "Shape"}
    rows, shape, ready = run_file(frozen, fetches, {})
    np.testing.assert_array_equal(rows, [[6, 7, 8], [0, 1, 2]])
    assert shape.tolist() == [4, 3] and ready


def test_variables_on_the_blacklist_or_off_the_whitelist_stay(graph):
    a, b = (rf.Variable(float(i), name=n) for i, n in enumerate("ab"))
    rf.add(a.value(), b.value(), name="sum")
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        one = rf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["sum"], ["a"])
        other = rf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["sum"], None, ["a"])
    assert [n.name for n in one.node if n.op == "VariableV2"] == ["b"]
    assert [n.name for n in other.node if n.op == "VariableV2"] == ["a"]


def test_what_cannot_be_frozen_is_said(graph):
    v = rf.Variable(1.0, name="v")
    v.assign_add(1.0, name="more")
    with rf.Session() as session:
        def freeze(name):
            return rf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [name])

        with pytest.raises(FailedPreconditionError, match="uninitialized value v"):
            freeze("v/read")
        session.run(v.initializer)
        with pytest.raises(InvalidArgumentError, match=r"'more' \(AssignAdd\), which updates the variable 'v'"):
            freeze("more")
        with pytest.raises(NotFoundError, match="no node 'v/reed'. Near: v/read"):
            freeze("v/reed")
        with pytest.raises(InvalidArgumentError, match="must be a list"):
            rf.graph_util.extract_sub_graph(graph.as_graph_def(), "v")


def test_training_nodes_are_spliced_out_unless_protected_or_controlled(graph):
    x = rf.placeholder(rf.float32, [2], name="x")
    checked = rf.check_numerics(rf.identity(x, name="a"), "x", name="b")
    with rf.control_dependencies([rf.no_op(name="first")]):
        rf.identity(rf.square(checked), name="late")
    smaller = rf.graph_util.remove_training_nodes(graph.as_graph_def())
    assert {n.name for n in smaller.node} == {"x", "first", "late", "Square"}
    np.testing.assert_array_equal(run_file(smaller, "late:0", {"x:0": [2, 3]}), [4, 9])
    kept = rf.graph_util.remove_training_nodes(graph.as_graph_def(), ["b:0"])
    assert "b" in {n.name for n in kept.node} and "a" not in {n.name for n in kept.node}


def test_ordering_updates_says_by_control_edges_what_is_the_rule_here(graph):
    v = rf.Variable(2.0, name="v")
    y = rf.square(v, name="y")
    step = v.assign_add(y, name="step")
    late = rf.add(step, v.value(), name="late")  # needs the value read before the update, after it
    plain = graph.as_graph_def()
    ordered = rf.graph_util.order_updates(plain, [step.name, late.name])
    nodes = {n.name: n for n in ordered.node}
    assert nodes["late"].input[1] == "v/read/_snapshot" and nodes["v/read/_snapshot"].op == "Snapshot"
    assert "^v/read/_snapshot" in nodes["step"].input
    assert not any("step" in text for text in nodes["v/Assign"].input)
    assert len(plain.node) == len(ordered.node) - 1 and not any(n.op == "Snapshot" for n in plain.node)
    with rf.Graph().as_default() as other:
        rf.import_graph_def(ordered, name="")
        with rf.Session(graph=other) as session:
            session.run("v/Assign")
            assert session.run(["late:0", "step:0"]) == [8.0, 6.0]
