"""`ringflow graph`: what it prints and draws, and what it says of files that are none."""
import xml.etree.ElementTree as xml

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.proto import graph_pb2, step_stats_pb2
from ringflow.launch import cli, graph_boxes, graph_model, graph_svg, layout


@pytest.fixture
def model(tmp_path):
    """The file of a small network that trains."""
    with rf.Graph().as_default() as graph:
        x = rf.placeholder(rf.float32, [None, 8], name="x")
        h = x
        for k in range(2):
            with rf.name_scope(f"layer{k}"):
                w = rf.Variable(rf.random_normal([8, 8]), name="w")
                h = rf.nn.relu(rf.matmul(h, w) + rf.Variable(rf.zeros([8]), name="b"))
        with rf.device("/cpu:0"):
            loss = rf.reduce_mean(h, name="loss")
        rf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
        rf.global_variables_initializer()
        return rf.train.write_graph(graph, str(tmp_path), "model.pb", as_text=False)


def printed(capsys, *words):
    try:
        code = cli.main(["graph", *words])
    except SystemExit as e:
        code = e.code
    out = capsys.readouterr()
    return code, out.out, out.err


def test_graph_prints_totals_devices_ops_and_scopes(capsys, model):
    code, out, _ = printed(capsys, model, "--batch", "4")
    assert code == 0
    assert "8 variables with 288 parameters (1.12 KiB)" in out
    matmuls = next(line.split() for line in out.splitlines() if line.startswith("MatMul"))
    assert matmuls[1] == "6" and matmuls[2:4] == ["3.07", "k"]  # 2 forward, 4 backward: 2 * 4 * 8 * 8 each
    assert "/device:CPU:0" in out and "(none)" in out
    layer = next(line.split() for line in out.splitlines() if line.startswith("layer0/"))
    assert layer[2] == "144"
    deeper = printed(capsys, model, "--depth", "2")[1]
    assert len(deeper.splitlines()) > len(out.splitlines())


def test_graph_draws_what_it_prints(capsys, model, tmp_path):
    path = tmp_path / "model.svg"
    code, out, _ = printed(capsys, model, "--svg", str(path))
    assert code == 0 and out.rstrip().endswith(f"drawn to {path}")
    texts = [t.text for t in xml.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "model.pb" and {"layer0", "layer1", "loss", "gradients", "x", "w", "/device:CPU:0"} <= set(texts)
    assert any(t.startswith("Not drawn: ") and "constants" in t and "init" in t for t in texts)
    everything = tmp_path / "all.svg"
    assert printed(capsys, model, "--svg", str(everything), "--all")[0] == 0
    texts = [t.text for t in xml.parse(everything).iter("{http://www.w3.org/2000/svg}text")]
    assert "init" in texts and not any(t.startswith("Not drawn") for t in texts)


def stats_file(path, times):
    run = step_stats_pb2.RunMetadata()
    device = run.step_stats.dev_stats.add(device="/device:CPU:0")
    for name, us in times.items():
        device.node_stats.add(node_name=name, all_start_micros=5, op_end_rel_micros=us)
    path.write_bytes(run.SerializeToString())
    return str(path)


def test_graph_shows_measured_times(capsys, model, tmp_path):
    stats = stats_file(tmp_path / "step.pb", {"layer0/MatMul": 1500, "layer1/MatMul": 250, "loss/_retval_0": 250})
    svg = tmp_path / "timed.svg"
    code, out, _ = printed(capsys, model, "--stats", stats, "--svg", str(svg))
    assert code == 0 and "measured: 2 ms in kernels" in out
    slowest = out[out.index("slowest nodes"):].splitlines()
    assert slowest[1].split()[:5] == ["layer0/MatMul", "MatMul", "1.5", "ms", "75.0%"]
    assert slowest[3].split()[0] == "loss"  # a node that a pass made counts for the one it is named below
    assert "1.5 ms" in [t.text for t in xml.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_graph_reads_ops_that_are_not_defined_here(capsys, tmp_path):
    graph_def = graph_pb2.GraphDef()
    graph_def.node.add(name="a", op="Placeholder").attr["dtype"].type = 1
    strange = graph_def.node.add(name="b", op="Telepathy", input=["a"])
    strange.attr["_output_shapes"].list.shape.add().dim.add(size=7)
    path = tmp_path / "strange.pb"
    path.write_bytes(graph_def.SerializeToString())
    code, out, _ = printed(capsys, str(path), "--svg", str(tmp_path / "s.svg"))
    assert code == 0 and "no op is named 'Telepathy'" in out and "Telepathy 7" in out


@pytest.mark.parametrize("words, says", [
    (("none.pb",), "'none.pb' cannot be read"), (("MODEL", "--stats", "MODEL"), "holds no step statistics"),
    (("MODEL", "--depth", "x"), "'x' is not a whole number"), (("MODEL", "--batch", "0"), "--batch must be >= 1"),
    (("MODEL", "--svg", "/proc/none/x.svg"), "'/proc/none/x.svg' cannot be written"), (("CUT",), "neither a GraphDef"),
])
def test_graph_refuses_in_one_line(capsys, model, tmp_path, words, says):
    (tmp_path / "cut.pb").write_bytes(open(model, "rb").read()[:-7])
    names = {"MODEL": model, "CUT": str(tmp_path / "cut.pb")}
    code, _, err = printed(capsys, *[names.get(w, w) for w in words])
    assert code == 2 and says in err and err.count("\n") == 1


# ---- layout
def random_graph(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    sizes = [(float(rng.uniform(10, 90)), float(rng.uniform(10, 60))) for _ in range(n)]
    edges = {(int(a), int(b)) for a, b in rng.integers(0, n, (int(rng.integers(0, 3 * n)), 2))}
    return sizes, sorted(edges)


@pytest.mark.parametrize("seed", range(25))
def test_boxes_never_overlap_and_edges_join_their_boxes(seed):
    sizes, edges = random_graph(seed)
    placed = layout.layout(sizes, edges)
    boxes = [(x, y, x + w, y + h) for x, y, (w, h) in zip(placed.x, placed.y, sizes)]
    for i, a in enumerate(boxes):
        assert a[0] >= -1e-6 and a[1] >= -1e-6 and a[2] <= placed.width + 1e-6 and a[3] <= placed.height + 1e-6
        for b in boxes[:i]:
            assert a[2] <= b[0] + 1e-6 or b[2] <= a[0] + 1e-6 or a[3] <= b[1] + 1e-6 or b[3] <= a[1] + 1e-6
    assert set(placed.routes) == {(a, b) for a, b in edges if a != b}
    for (a, b), points in placed.routes.items():
        for v, (x, y) in ((a, points[0]), (b, points[-1])):
            assert boxes[v][0] <= x <= boxes[v][2]
            assert min(abs(y - boxes[v][1]), abs(y - boxes[v][3])) < 1e-6


def test_a_tree_is_drawn_without_crossings():
    edges = [((i - 1) // 2, i) for i in range(1, 31)]
    columns = layout._broken([(20, 10)] * 31, edges, layout._layers(31, edges))[0]
    joined = [[] for _ in range(31)]
    for a, b in edges:
        joined[a].append(b)
        joined[b].append(a)
    columns = [sorted(c, key=lambda v: (v * 7) % 5) for c in columns]
    layer_of = {v: k for k, c in enumerate(columns) for v in c}
    assert layout._crossings(columns, joined, layer_of) > 0
    layout._order(columns, joined)
    assert layout._crossings(columns, joined, layer_of) == 0


def test_pooling_gives_the_nearest_rising_sequence():
    assert layout._increasing([1.0, 3.0, 2.0, 2.0, 5.0], [1.0, 1.0, 1.0, 2.0, 1.0]) == [1.0, 2.25, 2.25, 2.25, 5.0]


def test_a_path_stands_for_the_edges_into_a_hub_and_from_variables():
    ops = [("v", "VariableV2", []), ("a", "Relu", ["v"]), ("b", "Relu", ["a", "v"]), ("c", "Relu", ["b", "a"]),
           ("d", "Relu", ["c"]), ("sum", "AddN", ["a", "b", "c", "d", "v"])]
    nodes = [graph_model.Node(name, op, "", inputs, []) for name, op, inputs in ops]
    nodes.insert(1, graph_model.Node("v/read", "Identity", "", ["v"], []))  # makes v a scope
    model = graph_model.Model("m", nodes, graph_model.tree(nodes))

    def edges(everything):
        root = graph_boxes.boxes_of(model, graph_boxes.Options(0, everything, False))
        return {(root.inside[a].title, root.inside[b].title) for a, b in root.bytes_on}

    assert edges(False) == {("v", "a"), ("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("d", "sum")}
    assert edges(True) == edges(False) | {("v", "b"), ("v", "sum"), ("a", "sum"), ("b", "sum"), ("c", "sum")}


def test_many_variables_of_one_reader_and_nodes_that_differ_by_name_alone_are_one_box():
    nodes = [graph_model.Node(f"v{i}/{k}", op, "", [f"v{i}/v"] if k == "read" else [], []) for i in range(5)
             for k, op in (("v", "VariableV2"), ("read", "Identity"))]
    nodes = [graph_model.Node(n.name.replace("/v", ""), n.op, "", [t.replace("/v", "") for t in n.inputs], [])
             for n in nodes]
    nodes.append(graph_model.Node("sum", "AddN", "", [f"v{i}/read" for i in range(5)], []))
    nodes += [graph_model.Node(f"out{i}", "Square", "", ["sum"], []) for i in range(6)]
    root = graph_boxes.boxes_of(graph_model.Model("m", nodes, graph_model.tree(nodes)),
                                graph_boxes.Options(0, False, False))
    assert sorted(box.title for box in root.inside) == ["5 variables", "6 Square", "sum"]
    assert len(root.bytes_on) == 2 and len(root.nodes) == len(nodes)


def test_a_large_flat_graph_is_drawn_in_seconds():
    nodes = [graph_model.Node(f"n{i}", "Relu", "", [f"n{j}" for j in {i - 1, i // 2} if 0 <= j < i], []) for i in
             range(1500)]
    picture = graph_svg.draw(graph_model.Model("big", nodes, graph_model.tree(nodes)))
    assert picture.count("<rect") >= 1500
