"""Parsing examples on both backends: TensorFlow's results for the same examples, and errors."""
import importlib.util

import numpy as np
import pytest
import ringflow as rf

HAS_CORE = importlib.util.find_spec("ringflow._core") is not None
needs_core = pytest.mark.skipif(not HAS_CORE, reason="ringflow._core is not built")
backends = pytest.mark.parametrize("backend", [pytest.param("cpp", marks=needs_core), "reference"])

FIXED, VAR, SEQUENCE = rf.FixedLenFeature, rf.VarLenFeature, rf.FixedLenSequenceFeature
F, INT, S = rf.float32, rf.int64, rf.string


def example(**features):
    message = rf.train.Example()
    for key, values in features.items():
        feature = message.features.feature[key]
        if values is None:
            feature.SetInParent()
        elif not values:
            feature.float_list.SetInParent()
        else:
            kind = {bytes: feature.bytes_list, float: feature.float_list, int: feature.int64_list}[type(values[0])]
            kind.value.extend(values)
    return message.SerializeToString()


A = example(x=[1.5, 2.5], i=[3], s=[b"a", b"b"])
B = example(x=[0.5, 0.25], s=[b"c"], o=[1, 2])
C = example(i=[-7])
EMPTY = example(x=[], s=None)


def parse(backend, serialized, features, single=False, **more):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        function = rf.parse_single_example if single else rf.parse_example
        return session.run(function(serialized, features, **more))


def same(found, expected):
    if isinstance(expected, tuple):
        for f, e in zip(found, expected, strict=True):
            same(f, np.array(e, np.int64) if not isinstance(e, np.ndarray) else e)
        return
    found = np.asarray(found)
    assert found.dtype == expected.dtype and found.shape == expected.shape, (found, expected)
    np.testing.assert_array_equal(found, expected)


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


@backends
def test_dense_and_sparse_features_of_a_batch(backend):
    found = parse(backend, [A, B, C], {"x": FIXED([2], F, [9.0, 8.0]), "i": FIXED([], INT, 5), "s": VAR(S),
                                       "o": VAR(INT)})
    same(found["x"], np.array([[1.5, 2.5], [0.5, 0.25], [9, 8]], np.float32))
    same(found["i"], np.array([3, 5, -7]))
    same(found["s"], ([[0, 0], [0, 1], [1, 0]], strings(b"a", b"b", b"c"), [3, 2]))
    same(found["o"], ([[1, 0], [1, 1]], [1, 2], [3, 2]))
    assert isinstance(found["s"], rf.SparseTensorValue)


@backends
def test_sequences_are_padded_to_the_longest(backend):
    found = parse(backend, [A, B, C], {"o": SEQUENCE([1], INT, True, -1), "s": SEQUENCE([], S, True, "pad")})
    same(found["o"], np.array([[[-1], [-1]], [[1], [2]], [[-1], [-1]]]))
    same(found["s"], np.array([[b"a", b"b"], [b"c", b"pad"], [b"pad", b"pad"]], object))


@backends
def test_a_feature_without_a_list_is_absent_and_an_empty_list_is_not(backend):
    found = parse(backend, [EMPTY], {"s": FIXED([], S, "d"), "x": VAR(F)})
    same(found["s"], strings(b"d"))
    same(found["x"], (np.zeros((0, 2), np.int64), np.zeros(0, np.float32), [1, 0]))
    with pytest.raises(rf.errors.InvalidArgumentError, match="values != expected"):
        parse(backend, [EMPTY], {"x": FIXED([2], F, [1.0, 2.0])})


@backends
def test_an_empty_batch_has_empty_outputs(backend):
    found = parse(backend, strings(), {"o": VAR(INT), "x": FIXED([2], F), "s": SEQUENCE([3], S, True)})
    same(found["o"], (np.zeros((0, 2), np.int64), np.zeros(0, np.int64), [0, 0]))
    same(found["x"], np.zeros((0, 2), np.float32))
    same(found["s"], np.zeros((0, 0, 3), object))


@backends
@pytest.mark.parametrize("names", [None, "me"])
def test_one_example_has_no_first_dimension(backend, names):
    found = parse(backend, A, {"x": FIXED([2], F), "i": FIXED([], INT, 5), "s": VAR(S), "o": VAR(INT),
                               "words": SEQUENCE([], S, True)}, single=True, example_names=names)
    same(found["x"], np.array([1.5, 2.5], np.float32))
    same(found["i"], np.array(3))
    same(found["s"], ([[0], [1]], strings(b"a", b"b"), [2]))
    same(found["o"], (np.zeros((0, 1), np.int64), np.zeros(0, np.int64), [0]))
    same(found["words"], np.zeros(0, object))


@backends
@pytest.mark.parametrize("serialized, feature, message", [
    ([A, C], FIXED([2], F), r"Index: 1. Feature: x \(data type: float32\) is required"),
    ([A], FIXED([3], F), r"Index: 0. Key: x. Number of float32 values != expected. Values size: 2"),
    ([A], FIXED([2], INT), r"Key: x. Data types don't match. Expected type: int64"),
    ([B, A], VAR(S), r"Index: 0. Key: x. Data types don't match"),
    ([A, b"\x0a"], VAR(F), r"Index: 1. could not parse example input"),
    ([A], SEQUENCE([3], F, True), r"must be a multiple of 3: got 2"),
])
def test_an_example_that_does_not_fit_is_named(backend, serialized, feature, message):
    with pytest.raises(rf.errors.InvalidArgumentError, match=message):
        parse(backend, serialized, {"x": feature})
    names = [f"example{i}" for i in range(len(serialized))]
    with pytest.raises(rf.errors.InvalidArgumentError, match="example[01]|multiple"):
        parse(backend, serialized, {"x": feature}, example_names=names)


@pytest.mark.parametrize("features, message", [
    ({}, "at least one"),
    ({"x": rf.float32}, "must be a FixedLenFeature"),
    ({"x": VAR(rf.int32)}, "float32, int64 or string"),
    ({"x": FIXED([None], F)}, "known shape"),
    ({"x": FIXED([2], F, [1.0])}, "must have its shape"),
    ({"x": SEQUENCE([], F)}, "allow_missing"),
])
def test_features_that_cannot_be_are_refused_when_the_graph_is_built(features, message):
    with rf.Graph().as_default(), pytest.raises(rf.errors.InvalidArgumentError, match=message):
        rf.parse_example([A], features)


@backends
def test_a_sparse_feature_becomes_dense(backend):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        sparse = rf.parse_example([A, B, C], {"o": VAR(INT)})["o"]
        assert sparse.get_shape().rank == 2 and sparse.dtype is rf.int64
        same(session.run(rf.sparse_tensor_to_dense(sparse, -1)), np.array([[-1, -1], [1, 2], [-1, -1]]))


def test_a_sparse_tensor_must_fit_itself():
    with rf.Graph().as_default():
        assert rf.SparseTensor([[0, 1]], [5.0], [2, 3]).get_shape().as_list() == [2, 3]
        for parts in (([0], [5.0], [2]), ([[0]], [[5.0]], [2]), ([[0]], [5.0, 6.0], [2]), ([[0, 1]], [5.0], [2])):
            with pytest.raises(rf.errors.InvalidArgumentError, match="SparseTensor"):
                rf.SparseTensor(*parts)


@backends
def test_csv_and_raw_bytes(backend):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        a, b = rf.decode_csv(["1,x", "2,"], [[0], ["none"]])
        assert session.run([a, b])[0].tolist() == [1, 2] and session.run(b).tolist() == [b"x", b"none"]
        required, = rf.decode_csv(["1.5"], [[]])
        assert session.run(required).tolist() == [1.5]
        same(session.run(rf.decode_raw(["\x01\x02"], rf.uint8)), np.array([[1, 2]], np.uint8))
