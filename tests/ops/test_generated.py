"""Tests made from the op definitions: each op is held to its own reference, gradient, shape rule and wire form.

A failing test's id names op, sample and types: ``MatMul-3-T=float64`` is ``OPS["MatMul"].samples[3]``.
"""
import importlib.util

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import dtypes
from ringflow.graph.autodiff.gradients import gradients
from ringflow.graph.files.wire import import_graph_def, to_graph_def
from ringflow.graph.graph import Graph
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.interpreter import evaluate
from ringflow.graph.session import BACKENDS, Session
from ringflow.graph.shapes import TensorShape

from .op_cases import FED_BY_RUNS, OUR_OPS, all_cases, as_plain, base_cases, names_variable, source_nodes

HAS_CORE = importlib.util.find_spec("ringflow._core") is not None
if HAS_CORE:
    import ringflow.kernels.backend  # noqa: F401  (registers "cpp")

needs_core = pytest.mark.skipif("cpp" not in BACKENDS, reason="ringflow._core is not built")

ALL = [c for c in all_cases() if c.op.name not in FED_BY_RUNS]
BASE = [c for c in base_cases() if c.op.name not in FED_BY_RUNS]

# The relative error that a kernel may have against the reference, by the dtype of the output.
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12, np.dtype(np.float16): 0}

# Shapes that only the run knows, or that an attr leaves open.
LATE_SHAPES = {
    "Where",
    "Unique",
    "DynamicPartition",
    "DynamicStitch",
    "DecodeRaw",
    "ListDiff",
    "ComputeAccidentalHits",
    "MatchingFiles",
    "ReaderReadUpToV2",
    "ParseExample",
    "ParseExampleV2",
    "ParseSingleExample",
    "SparseFillEmptyRows",
    "SparseSegmentSumGradV2",
    "SparseSegmentMeanGradV2",
    "SparseToDense",
    "ParallelDynamicStitch",
    "BroadcastGradientArgs",
    "PlaceholderWithDefault",
    "StackPopV2",
    "TensorArrayReadV3",
    "TensorArrayGatherV3",
    "TensorArrayConcatV3",
    "QueueDequeueV2",
    "QueueDequeueManyV2",
    "QueueDequeueUpToV2",
    "SparseAccumulatorTakeGradient",
    "BarrierTakeMany",
}


def ids(cases):
    return [c.id for c in cases]


# ---- 1: kernels and the session against the reference
def run_in_session(case, backend, fed_everything):
    """Outputs of the node (None for what cannot be fetched), and values of its variables afterwards."""
    arrays, args, are_variables = case.arrays(), case.input_args(), case.variables()
    constants = [not (fed_everything or drawn or i == 0 or a.dtype.kind == "f")
                 for i, (drawn, a) in enumerate(zip(case.random(), arrays))]
    graph = Graph()
    with graph.as_default(), Session(graph=graph, backend=backend) as session:
        sources = source_nodes(graph, case, arrays, [None] * len(arrays), constants)
        op = case.build(graph, sources)
        feeds = {t: a for t, a in zip(sources, arrays) if t.op.type == "Placeholder"}
        variables = []
        for t, a, arg, is_variable in zip(sources, arrays, args, are_variables):
            if is_variable:
                dtype = t.op.attrs["dtype"]
                value = graph.create_op("Placeholder", [], {"dtype": dtype}, "initial").outputs[0]
                assign = "Assign" if arg.is_ref else "AssignVariableOp"
                session.run(graph.create_op(assign, [t, value], {}, "initialise"), {value: a})
                read = "Identity" if arg.is_ref else "ReadVariableOp"
                attrs = {} if arg.is_ref else {"dtype": dtype}
                variables.append(graph.create_op(read, [t], attrs, "final").outputs[0])
        fetches = [t for t in op.outputs if t.dtype.kind != "h" and not (op.type == "VariableV2" or t.dtype is rf.string
                                                                         and t.is_ref)]  # these have no value
        values = iter(session.run(fetches or op, feeds) or [])
        outputs = [next(values) if t in fetches else None for t in op.outputs]
        # a scalar string comes as bytes
        outputs = [np.array(o, object) if isinstance(o, bytes) else o for o in outputs]
        return outputs, session.run(variables)


def check_close(actual, expected, what):
    assert actual.dtype == np.asarray(expected).dtype, (
        f"{what}: dtype {actual.dtype}, the reference gives {expected.dtype}"
    )
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, the reference gives {expected.shape}"
    exact = actual.dtype not in TOLERANCE
    actual, expected = as_plain(actual), as_plain(expected)
    if exact or not actual.size:
        np.testing.assert_array_equal(actual, expected, what)
        return
    tolerance = TOLERANCE[actual.dtype]
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max()) if finite.size else 0.0
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * min(largest, 1e6), err_msg=what)


def check_same_distribution(actual, expected, what):
    """Two-sample Kolmogorov-Smirnov, for random ops. Few numbers: only dtype and shape."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape, what
    n = actual.size
    if n < 1000:
        return
    a, b = np.sort(actual.ravel().astype(np.float64)), np.sort(expected.ravel().astype(np.float64))
    at = np.concatenate([a, b])
    distance = np.abs(np.searchsorted(a, at, "right") - np.searchsorted(b, at, "right")).max() / n
    assert distance < 2.2 * np.sqrt(2 / n), f"{what}: distributions differ by {distance}"


def check_session(case, backend, fed_everything):
    if case.refused():
        with pytest.raises(ValueError):
            run_in_session(case, backend, fed_everything)
        return
    outputs, variables = run_in_session(case, backend, fed_everything)
    expected, expected_variables = case.expected()
    check = check_same_distribution if case.op.statistical else check_close
    for i, (a, e) in enumerate(zip(outputs, expected)):
        if a is not None and i not in UNSPECIFIED.get(case.op.name, ()):
            check(a, e, f"{case.id} output {i}")
    for i, (a, e) in enumerate(zip(variables, expected_variables)):
        check_close(a, e, f"{case.id} variable {i}")


UNSPECIFIED = {"FusedBatchNormV3": {5}, "FusedBatchNormGradV3": {3, 4}}  # outputs that are other runtimes' scratch


@needs_core
@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_kernel_equals_reference(case):
    check_session(case, "cpp", fed_everything=False)


@needs_core
@pytest.mark.parametrize("case", BASE, ids=ids(BASE))
def test_kernel_equals_reference_where_no_shape_is_known(case):
    check_session(case, "cpp", fed_everything=True)


@pytest.mark.parametrize("case", BASE, ids=ids(BASE))
def test_interpreter_runs_the_reference(case):
    check_session(case, "reference", fed_everything=False)


# ---- 2: gradients
def float64_cases():
    def differentiable(c):
        return (c.op.gradient_rule is not None and c.sample.gradient and not any(map(names_variable, c.input_args()))
                and any(a.dtype == np.float64 for a in c.arrays())
                and dtypes.float64 in c.op.output_dtypes(c.node_attrs()) and not c.refused())
    return [c for c in BASE if differentiable(c)]


GRADIENT_CASES = float64_cases()


@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("case", GRADIENT_CASES, ids=ids(GRADIENT_CASES))
def test_gradient_equals_central_differences(case, known):
    """Along a random direction of all inputs, and for random weights of all outputs."""
    arrays = case.arrays()
    rng = np.random.default_rng(len(case.id))
    moved = [i for i, a in enumerate(arrays) if a.dtype == np.float64]
    graph = Graph()
    with graph.as_default(), Session(graph=graph, backend="reference") as session:
        constants = [i not in moved for i in range(len(arrays))]
        shapes = [a.shape if known else [None] * a.ndim for a in arrays]
        sources = source_nodes(graph, case, arrays, shapes, constants)
        op = case.build(graph, sources)
        outputs = evaluate(op, arrays)
        used = [k for k, t in enumerate(op.outputs) if t.dtype is dtypes.float64
                and k not in UNSPECIFIED.get(case.op.name, ())]
        weights = {k: rng.standard_normal(np.shape(outputs[k])) for k in used}
        results = gradients([op.outputs[k] for k in used], [sources[i] for i in moved],
                            [rf.constant(weights[k]) for k in used])
        results = [g._as_tensor() if isinstance(g, IndexedSlices) else g for g in results]
        feeds = {sources[i]: arrays[i] for i in moved}
        values = session.run([g for g in results if g is not None], feeds)
    computed = iter(values)
    grads = [np.zeros_like(arrays[i]) if g is None else next(computed) for i, g in zip(moved, results)]
    for i, g in zip(moved, grads):
        assert g.shape == arrays[i].shape, f"gradient of input {i} has shape {g.shape}, the input {arrays[i].shape}"

    directions = {i: rng.standard_normal(arrays[i].shape) for i in moved}

    def loss(step):
        there = [a + step * directions[i] if i in directions else a for i, a in enumerate(arrays)]
        return sum(float(np.sum(weights[k] * evaluate(op, there)[k])) for k in used)

    h = 1e-5
    numeric = (loss(h) - loss(-h)) / (2 * h)
    terms = [g * directions[i] for i, g in zip(moved, grads)]
    analytic = sum(float(t.sum()) for t in terms)
    scale = sum(float(np.abs(t).sum()) for t in terms) + abs(numeric)
    assert abs(analytic - numeric) <= 1e-6 * scale + 1e-9, f"{case.id}: gradient {analytic}, differences {numeric}"


@pytest.mark.parametrize("name", sorted(OUR_OPS))
def test_op_says_whether_it_has_a_gradient(name):
    op = OUR_OPS[name]
    floats = [a for a in op.outputs if a.dtype is None or a.dtype.is_floating]
    silent = op.gradient_rule is None and op.differentiable and op.inputs and floats and not op.stateful
    assert not silent, f"{name} has neither a gradient rule nor differentiable=False"


# ---- 3: shape rules
def static_shapes(case, shapes, constants):
    graph = Graph()
    op = case.build(graph, source_nodes(graph, case, case.arrays(), shapes, constants))
    return [t.shape for t in op.outputs]


@pytest.mark.parametrize("case", BASE, ids=ids(BASE))
def test_shape_rule_fits_the_actual_shapes(case):
    arrays, drawn = case.arrays(), case.random()
    if case.refused():
        return
    actual = [np.shape(o) for o in case.expected()[0] if o is not None]  # None: a variable without a value
    exact = static_shapes(case, [a.shape for a in arrays], [not d for d in drawn])
    for a, s in zip(actual, exact):
        assert s.is_compatible_with(a), f"{case.id}: static {s}, actual {a}"
        if case.op.name not in LATE_SHAPES:
            assert s.is_fully_defined(), f"{case.id}: static shape {s} could be {a}"
    weaker = [[None] * len(arrays)]  # unknown ranks; unknown dimensions; one unknown dimension; nothing constant
    weaker.append([[None] * a.ndim for a in arrays])
    for i, a in enumerate(arrays):
        for axis in range(a.ndim):
            shapes = [x.shape for x in arrays]
            shapes[i] = tuple(None if k == axis else n for k, n in enumerate(a.shape))
            weaker.append(shapes)
    for shapes in weaker:
        for constants in ([not d for d in drawn], [False] * len(arrays)):
            for a, s in zip(actual, static_shapes(case, shapes, constants)):
                assert s.is_compatible_with(a), (
                    f"{case.id}: inputs {[str(TensorShape(x)) for x in shapes]} give {s}, actual {a}"
                )


# ---- 4: the wire
def same_attr(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b


BASE_WITH_FED = base_cases()


@pytest.mark.parametrize("case", BASE_WITH_FED, ids=ids(BASE_WITH_FED))
def test_wire_round_trip_keeps_the_node(case):
    if case.refused():
        return
    graph, back = Graph(), Graph()
    arrays = case.arrays()
    op = case.build(graph, source_nodes(graph, case, arrays, [a.shape for a in arrays], [not d for d in case.random()]))
    data = to_graph_def(graph).SerializeToString()
    with back.as_default():
        import_graph_def(data, name="")
    again = back.get_operation_by_name(op.name)
    assert again.type == op.type
    assert [t.name for t in again.inputs] == [t.name for t in op.inputs]
    assert [(t.dtype, t.shape) for t in again.outputs] == [(t.dtype, t.shape) for t in op.outputs]
    assert set(again.attrs) == set(op.attrs)
    for key, value in op.attrs.items():
        assert same_attr(value, again.attrs[key]), f"attr {key}: {value!r} came back as {again.attrs[key]!r}"


# ---- 5: the definitions themselves
@pytest.mark.parametrize("name", sorted(OUR_OPS))
def test_op_has_samples_and_a_doc(name):
    op = OUR_OPS[name]
    assert op.doc, f"{name} has no docstring"
    assert op.samples, f"{name} has no samples: add {name}.sample(...) beside its definition"
    assert any(c.op is op for c in BASE_WITH_FED), f"no sample of {name} fits any of its dtypes"


@pytest.mark.parametrize("name", sorted(OUR_OPS))
def test_every_attr_of_a_sample_is_an_attr_of_the_op(name):
    op = OUR_OPS[name]
    for i, sample in enumerate(op.samples):
        assert set(sample.attrs) <= set(op.attrs), f"{name} sample {i}"
        assert len(sample.inputs) == len(op.inputs), f"{name} sample {i}"
