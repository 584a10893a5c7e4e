"""References of image ops in NCHW: the same numbers as in NHWC with axes moved."""
import numpy as np
import pytest
from ringflow.graph import dtypes, ops  # noqa: F401  (ops fills the registry)
from ringflow.graph.graph import Graph
from ringflow.graph.interpreter import evaluate
from ringflow.graph.opdef import OPS

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


@pytest.mark.parametrize("name, kinds, shapes, attrs", CASES)
def test_nchw_equals_nhwc_with_axes_moved(name, kinds, shapes, attrs):
    rng = np.random.default_rng(3)
    arrays = []
    for kind, shape, arg in zip(kinds, shapes, OPS[name].inputs):
        sizes = kind == "s" or arg.name == "filter_sizes"
        arrays.append(np.array(shape, np.int32) if sizes else np.abs(rng.standard_normal(shape)).astype(np.float32))
    if name == "Conv2DBackpropFilter":
        arrays[1] = np.array(F, np.int32)
    there = [a.transpose(TO_NCHW) if kind == "i" else a[list(TO_NCHW)] if kind == "s" else a for kind,
             a in zip(kinds, arrays)]
    expected, actual = run(name, arrays, attrs), run(name, there, moved(attrs))
    for e, a in zip(expected, actual):
        image = e.ndim == 4 and name != "Conv2DBackpropFilter"
        np.testing.assert_allclose(a, e.transpose(TO_NCHW) if image else e, rtol=1e-5, atol=1e-6)
