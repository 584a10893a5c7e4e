"""Traced runs: step statistics, the cost graph and the Chrome trace made from them."""
import json

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError, UnimplementedError

FULL = rf.RunOptions(trace_level=rf.RunOptions.FULL_TRACE)


@pytest.fixture
def session(graph):
    with rf.Session(graph=graph) as session:
        yield session


def trained(session):
    """A step: (fetches, feeds) of a small network."""
    x = rf.placeholder(rf.float32, [None, 4], name="x")
    w = rf.Variable(np.ones((4, 3), np.float32), name="w")
    loss = rf.reduce_mean(rf.square(rf.matmul(x, w, name="product")), name="loss")
    train = rf.train.GradientDescentOptimizer(0.1).minimize(loss)
    session.run(rf.global_variables_initializer())
    return [loss, train], {x: np.ones((5, 4), np.float32)}


def stats_of(run_metadata):
    return {n.node_name: n for d in run_metadata.step_stats.dev_stats for n in d.node_stats}


def test_a_traced_run_gives_the_values_and_what_each_node_did(session):
    fetches, feeds = trained(session)
    run_metadata = rf.RunMetadata()
    loss, none = session.run(fetches, feeds, FULL, run_metadata)
    assert (loss, none) == (16.0, None)
    nodes = stats_of(run_metadata)
    product = nodes["product"]
    assert product.timeline_label.startswith("product = MatMul(x/_arg_0, w")
    output, = product.output
    assert [d.size for d in output.tensor_description.shape.dim] == [5, 3]
    assert output.tensor_description.allocation_description.requested_bytes == 60
    assert product.memory[0].total_bytes == 60 and product.all_start_micros > 1.6e15
    assert 0 <= product.op_end_rel_nanos < 1e9 and product.all_start_nanos // 1000 == product.all_start_micros
    update = next(n for name, n in nodes.items() if "ApplyGradientDescent" in n.timeline_label)
    assert update.all_start_nanos >= product.all_start_nanos + product.all_end_rel_nanos
    assert run_metadata.step_stats.dev_stats[0].device.endswith("/device:CPU:0")
    assert run_metadata.step_stats.dev_stats[0].thread_names[0] == "the calling thread"
    assert session.run(fetches[0], feeds) == pytest.approx((4 - 0.1 * 4 * 8 / 3) ** 2, rel=1e-5)


def test_the_cost_graph_joins_the_nodes_that_ran(session):
    fetches, feeds = trained(session)
    run_metadata = rf.RunMetadata()
    session.run(fetches, feeds, FULL, run_metadata)
    nodes = run_metadata.cost_graph.node
    assert [n.id for n in nodes] == list(range(len(nodes)))
    by_name = {n.name: n for n in nodes}
    assert set(by_name) == set(stats_of(run_metadata))
    product = by_name["product"]
    assert product.output_info[0].size == 60 and by_name["loss/_retval_0"].is_final
    assert any(n.input_info and nodes[n.input_info[0].preceding_node].name == "product" for n in nodes)


def test_a_run_without_trace_leaves_the_metadata_alone(session):
    fetches, feeds = trained(session)
    run_metadata = rf.RunMetadata()
    session.run(fetches, feeds, rf.RunOptions(), run_metadata)
    session.run(fetches, feeds, None, run_metadata)
    assert not run_metadata.ByteSize()


def test_errors_of_a_traced_run_name_the_node(session):
    x = rf.placeholder(rf.float32, [None], name="x")
    y = rf.check_numerics(x, "bad", name="checked")
    run_metadata = rf.RunMetadata()
    with pytest.raises(InvalidArgumentError, match="bad : Tensor had NaN.*Created at .*test_tracing.py"):
        session.run(y, {x: [np.nan]}, FULL, run_metadata)
    assert session.run(y, {x: [1.0]}, FULL, run_metadata) == [1.0]


def test_the_reference_backend_has_no_clock():
    with rf.Graph().as_default(), rf.Session(backend="reference") as session:
        with pytest.raises(UnimplementedError, match="times no nodes. Fix: use backend='cpp'"):
            session.run(rf.constant(1.0) + 1.0, None, FULL, rf.RunMetadata())


def test_each_iteration_of_a_loop_is_a_call(session):
    final = rf.while_loop(lambda i: rf.less(i, 5), lambda i: rf.add(i, 1, name="more"), [rf.constant(0)])
    run_metadata = rf.RunMetadata()
    session.run(final, None, FULL, run_metadata)
    calls = [n for d in run_metadata.step_stats.dev_stats for n in d.node_stats if n.node_name.endswith("more")]
    assert len(calls) == 5
    cost, = (n for n in run_metadata.cost_graph.node if n.name.endswith("more"))
    assert cost.compute_cost == sum(n.op_end_rel_nanos for n in calls) // 1000


def test_the_trace_has_a_row_for_each_thread_and_arrows_along_the_data(session, tmp_path):
    fetches, feeds = trained(session)
    path = tmp_path / "step.json"
    assert rf.profiler.trace(str(path), session, fetches, feeds)[0] == 16.0
    events = json.loads(path.read_text())["traceEvents"]
    calls = {e["args"]["name"]: e for e in events if e["ph"] == "X"}
    assert calls["product"]["name"] == "MatMul" and calls["product"]["args"]["input0"] == "x/_arg_0"
    assert calls["product"]["args"]["output0"] == "[5, 3], 60 bytes"
    names = {e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert names == {"the calling thread"}
    for call in calls.values():
        assert call["dur"] >= 0
    starts = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "t"}
    assert starts and set(starts) == set(ends)
    for number, start in starts.items():
        assert start["ts"] <= ends[number]["ts"] + 1e-3 and start["name"] == ends[number]["name"]
    memory = [e["args"]["bytes"] for e in events if e["ph"] == "C"]
    assert max(memory) >= 60 and memory[-1] == 0 and min(memory) >= 0


def test_overlapping_calls_of_a_thread_get_rows_of_their_own():
    stats = rf.RunMetadata().step_stats
    device = stats.dev_stats.add(device="/gpu:0")
    for name, start, length in (("a", 0, 10), ("b", 5, 10), ("c", 12, 10), ("d", 20, 1)):
        device.node_stats.add(node_name=name, all_start_micros=100 + start, all_end_rel_micros=length, thread_id=1,
                              timeline_label=f"{name} = Wait()")
    text = rf.profiler.Timeline(stats).generate_chrome_trace_format()
    rows = {e["args"]["name"]: e["tid"] for e in json.loads(text)["traceEvents"] if e["ph"] == "X"}
    assert rows == {"a": 16, "b": 17, "c": 16, "d": 17}


def test_partitions_are_traced_by_device_and_their_graphs_given():
    with rf.Graph().as_default() as graph:
        with rf.device("/cpu:0"):
            x = rf.placeholder(rf.float32, [2], name="x")
            a = rf.square(x, name="a")
        with rf.device("/cpu:1"):
            b = rf.exp(a, name="b")
        options = rf.RunOptions(trace_level=rf.RunOptions.FULL_TRACE, output_partition_graphs=True)
        run_metadata = rf.RunMetadata()
        with rf.Session(graph=graph, config=rf.ConfigProto(device_count={"CPU": 2})) as session:
            session.run(b, {x: [0, 1]}, options, run_metadata)
    by_device = {d.device.rpartition(":")[2]: {n.node_name for n in d.node_stats}
                 for d in run_metadata.step_stats.dev_stats}
    assert "a" in by_device["0"] and "b" in by_device["1"] and not by_device["0"] & by_device["1"]
    graphs = [{node.name for node in g.node} for g in run_metadata.partition_graphs]
    assert len(graphs) == 2 and any("a" in g for g in graphs) and any("b" in g for g in graphs)
    assert any(node.op == "_Send" for g in run_metadata.partition_graphs for node in g.node)
