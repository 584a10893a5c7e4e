"""References of image ops in NCHW: the same numbers as in NHWC with axes moved."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import dtypes, ops  # noqa: F401  (ops fills the registry)
from ringflow.graph.graph import Graph
from ringflow.graph.interpreter import evaluate
from ringflow.graph.opdef import OPS
from ringflow.graph.passes import extract, optimise
from ringflow.graph.session import Session
from ringflow.graph.shapes import TensorShape

TO_NCHW = (0, 3, 1, 2)
WINDOW = {"strides": [1, 2, 1, 1], "padding": "SAME"}
EXPLICIT = {"strides": [1, 1, 2, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 0, 2, 1, 0, 0]}
X, Y, F, C = (2, 5, 6, 3), (2, 3, 6, 4), (3, 2, 3, 4), (3,)

# op, images among the inputs ("i"), vectors and filters ("v"), image sizes ("s"); shapes; attrs
CASES = [
    ("Conv2D", "iv", [X, F], WINDOW),
    ("Conv2D", "iv", [X, F], {**WINDOW, "strides": [1, 1, 1, 1], "dilations": [1, 2, 3, 1]}),
    ("Conv2D", "iv", [X, F], EXPLICIT),
    ("Conv2DBackpropInput", "svi", [X, F, Y], WINDOW),
    ("Conv2DBackpropFilter", "ivi", [X, F, Y], WINDOW),
    ("MaxPool", "i", [X], {**WINDOW, "ksize": [1, 2, 3, 1]}),
    ("MaxPool", "i", [X], {**EXPLICIT, "ksize": [1, 3, 3, 1]}),
    ("MaxPoolGrad", "iii", [X, (2, 3, 6, 3), (2, 3, 6, 3)], {**WINDOW, "ksize": [1, 2, 3, 1]}),
    ("AvgPool", "i", [X], {**WINDOW, "ksize": [1, 3, 2, 1]}),
    ("AvgPoolGrad", "si", [X, (2, 3, 6, 3)], {**WINDOW, "ksize": [1, 3, 2, 1]}),
    ("FusedBatchNormV3", "ivvvv", [X, C, C, C, C], {}),
    ("FusedBatchNormGradV3", "iivvvv", [X, X, C, C, C, (0,)], {}),
]


def moved(attrs):
    """Attrs of four entries, or four pairs, in NCHW order."""
    def reorder(values):
        n = len(values) // 4
        return [v for axis in TO_NCHW for v in values[n * axis:n * axis + n]]
    return {k: reorder(v) if isinstance(v, list) else v for k, v in attrs.items()} | {"data_format": "NCHW"}


def run(name, arrays, attrs):
    graph = Graph()
    with graph.as_default():
        inputs = [graph.create_op("Const", [],
                                  {"value": a, "dtype": dtypes.as_dtype(a.dtype)}).outputs[0] for a in arrays]
        op = graph.create_op(name, inputs, attrs)
    outputs = evaluate(op, arrays)
    for t, o in zip(op.outputs, outputs):
        assert t.shape.is_compatible_with(o.shape)
    return outputs


def in_session(name, arrays, attrs, feed_sizes):
    """The outputs by a session, whose passes turn NCHW into NHWC; integers are constants unless `feed_sizes`."""
    graph = Graph()
    with graph.as_default(), Session(graph=graph) as session:
        feeds, inputs = {}, []
        for a in arrays:
            dtype = dtypes.as_dtype(a.dtype)
            if a.dtype.kind == "f" or feed_sizes:
                t = graph.create_op("Placeholder", [], {"dtype": dtype, "shape": TensorShape(None)}).outputs[0]
                feeds[t] = a
            else:
                t = graph.create_op("Const", [], {"value": a, "dtype": dtype}).outputs[0]
            inputs.append(t)
        return session.run(list(graph.create_op(name, inputs, attrs).outputs), feeds)


@pytest.mark.parametrize("name, kinds, shapes, attrs", CASES)
def test_nchw_equals_nhwc_with_axes_moved(name, kinds, shapes, attrs):
    rng = np.random.default_rng(3)
    arrays = []
    for kind, shape, arg in zip(kinds, shapes, OPS[name].inputs):
        sizes = kind == "s" or arg.name == "filter_sizes"
        arrays.append(np.array(shape, np.int32) if sizes else np.abs(rng.standard_normal(shape)).astype(np.float32))
    if name == "Conv2DBackpropFilter":
        arrays[1] = np.array(F, np.int32)
    if name == "MaxPoolGrad":
        arrays[1] = run("MaxPool", arrays[:1], attrs)[0]
    there = [a.transpose(TO_NCHW) if kind == "i" else a[list(TO_NCHW)] if kind == "s" else a for kind,
             a in zip(kinds, arrays)]
    expected, actual = run(name, arrays, attrs), run(name, there, moved(attrs))
    for e, a in zip(expected, actual):
        image = e.ndim == 4 and name != "Conv2DBackpropFilter"
        np.testing.assert_allclose(a, e.transpose(TO_NCHW) if image else e, rtol=1e-5, atol=1e-6)
        if name.startswith("FusedBatchNorm"):
            break  # the others are other runtimes' scratch
    for feed_sizes in (False, True):
        for a, b in zip(actual, in_session(name, there, moved(attrs), feed_sizes)):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
            if name.startswith("FusedBatchNorm"):
                break


def test_between_layers_no_transposes_are_left():
    rng = np.random.default_rng(1)
    x, f, g = (rng.standard_normal(s).astype(np.float32) for s in ((2, 3, 16, 16), (3, 3, 3, 8), (3, 3, 8, 8)))

    def network(x, data_format):
        strides = [1, 1, 1, 1]
        h = rf.nn.relu(rf.nn.bias_add(rf.nn.conv2d(x, f, strides, "SAME", data_format=data_format), np.ones(8, "f"),
                                      data_format=data_format))
        y = rf.nn.conv2d(h, g, strides, "SAME", data_format=data_format)
        return rf.tanh(h + y) * 0.5

    graph = Graph()
    with graph.as_default(), Session(graph=graph) as session:
        a = rf.placeholder(rf.float32, [2, 3, 16, 16])
        first, last = network(a, "NCHW"), network(rf.transpose(a, [0, 2, 3, 1]), "NHWC")
        da, db = rf.gradients(rf.reduce_sum(rf.square(first)), a)[0], rf.gradients(rf.reduce_sum(rf.square(last)), a)[0]
        nchw, nhwc, ga, gb = session.run([first, last, da, db], {a: x})
        np.testing.assert_allclose(nchw.transpose(0, 2, 3, 1), nhwc, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ga, gb, rtol=1e-4, atol=1e-5)
        program = optimise(extract(graph, [first], [], [a], [a.shape]))
    assert sum(op.type == "Transpose" for op in program.graph.get_operations()) == 2
