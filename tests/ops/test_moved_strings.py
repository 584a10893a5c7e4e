"""Ops that only move elements take strings too: kernel and reference against the same op on the strings' numbers."""
import importlib.util

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.opdef import OPS

HAS_CORE = importlib.util.find_spec("ringflow._core") is not None
needs_core = pytest.mark.skipif(not HAS_CORE, reason="ringflow._core is not built")
backends = pytest.mark.parametrize("backend", [pytest.param("cpp", marks=needs_core), "reference"])

NUMBERS = np.arange(12).reshape(4, 3)
INDEX = np.array([2, 0, 3], np.int32)
CASES = {
    "GatherV2": lambda x: OPS["GatherV2"](x, INDEX, 0),
    "GatherNd": lambda x: OPS["GatherNd"](x, np.array([[0, 1], [3, 2]], np.int32)),
    "Pack": lambda x: OPS["Pack"]([x, x], axis=1),
    "Unpack": lambda x: OPS["Unpack"](x, num=3, axis=1),
    "ConcatV2": lambda x: OPS["ConcatV2"]([x, x], 1),
    "Split": lambda x: OPS["Split"](0, x, num_split=2),
    "SplitV": lambda x: OPS["SplitV"](x, np.array([1, 3], np.int32), 0, num_split=2),
    "DynamicPartition": lambda x: OPS["DynamicPartition"](x, np.array([1, 0, 1, 1], np.int32), num_partitions=2),
    "Slice": lambda x: OPS["Slice"](x, [1, 0], [2, 2]),
    "StridedSlice": lambda x: x[::-1, 1],
    "Reshape": lambda x: OPS["Reshape"](x, [2, -1]),
    "ExpandDims": lambda x: OPS["ExpandDims"](x, 1),
    "Transpose": lambda x: OPS["Transpose"](x, [1, 0]),
    "BroadcastTo": lambda x: OPS["BroadcastTo"](x, [2, 4, 3]),
    "Tile": lambda x: OPS["Tile"](x, [1, 2]),
    "Select": lambda x: OPS["Select"](NUMBERS % 2 == 0, x, x[::-1]),
    "SelectV2": lambda x: OPS["SelectV2"](NUMBERS[:, :1] > 3, x, x[0]),
    "Shape": lambda x: OPS["Shape"](x),
    "Size": lambda x: OPS["Size"](x),
}


def words(numbers):
    return np.array([b"w%d" % n for n in numbers.ravel()] + [None], object)[:-1].reshape(numbers.shape)


def run(backend, name, value):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        x = rf.placeholder(rf.as_dtype(value.dtype), value.shape)
        result = CASES[name](x)
        return session.run(list(result) if isinstance(result, (tuple, list)) else [result], {x: value})


@backends
@pytest.mark.parametrize("name", CASES)
def test_strings_go_where_numbers_go(backend, name):
    for found, numbers in zip(run(backend, name, words(NUMBERS)), run(backend, name, NUMBERS), strict=True):
        expected = numbers if name in ("Shape", "Size") else words(np.asarray(numbers))
        np.testing.assert_array_equal(np.asarray(found), expected)


@backends
def test_shuffling_keeps_every_row_of_strings(backend):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        found = session.run(rf.random_shuffle(rf.constant(words(NUMBERS)), seed=1))
    assert sorted(map(tuple, found)) == sorted(map(tuple, words(NUMBERS)))


@backends
def test_variables_hold_strings(backend):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        v = rf.Variable(rf.constant(["a", "b"]))
        session.run(rf.global_variables_initializer())
        assert session.run(v).tolist() == [b"a", b"b"]
        session.run(rf.assign(v, ["c", "long" * 10]))
        assert session.run(v).tolist() == [b"c", b"long" * 10]
        with pytest.raises(rf.errors.InvalidArgumentError):
            session.run(rf.assign(v, ["c"]))
