"""The compiled runtime from Python: feeds, results, errors, and its wire reader against protobuf's."""
import gc
import random
import sys
import threading

import numpy as np
import pytest
import ringflow.kernels  # noqa: F401  (loads the BLAS that _core needs)
from google.protobuf.message import DecodeError
from ringflow import _core
from ringflow.graph.proto import graph_pb2 as pb

FLOAT = 1


class Builder:
    """GraphDef bytes, a node a call."""

    def __init__(self):
        self.graph = pb.GraphDef()

    def node(self, name, op, inputs=(), shape=None, dtype=FLOAT, **attrs):
        node = self.graph.node.add(name=name, op=op, input=inputs)
        for key, value in attrs.items():
            field = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else "s"
            setattr(node.attr[key], "type" if key in ("T", "dtype") else field, value)
        if shape is not None:
            node.attr["_output_dtypes"].list.type.append(dtype)
            out = node.attr["_output_shapes"].list.shape.add()
            for size in shape:
                out.dim.add(size=size)
        return self

    def build(self, resources=None):
        return _core.Executable(self.graph.SerializeToString(), resources or _core.Resources())


def product():
    b = Builder().node("x", "_Arg", shape=(8, 4), T=FLOAT, index=0).node("w", "_Arg", shape=(4, 4), T=FLOAT, index=1)
    b.node("xw", "MatMul", ["x", "w"], (8, 4), T=FLOAT, transpose_a=False, transpose_b=False)
    b.node("y", "Relu", ["xw"], (8, 4), T=FLOAT)
    return b.node("r0", "_Retval", ["y"], T=FLOAT, index=0).node("r1", "_Retval", ["xw"], T=FLOAT, index=1)


def echo(dtype, shape=(3,)):
    b = Builder().node("x", "_Arg", shape=shape, dtype=dtype, T=dtype, index=0)
    return b.node("r", "_Retval", ["x"], T=dtype, index=0).build()


X, W = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4), np.eye(4, dtype=np.float32)[::-1].copy()


def test_results_come_by_index():
    e = product().build()
    y, xw = e.run([X, W])
    np.testing.assert_array_equal(xw, X @ W)
    np.testing.assert_array_equal(y, np.maximum(X @ W, 0))
    assert e.results() == ["float32", "float32"]
    assert e.arguments() == [("x", "float32", (8, 4)), ("w", "float32", (4, 4))]
    assert "y = Relu(xw) -> float32 128 B arena @0 in place of input 0" in e.describe()


def test_read_only_feeds_are_taken_and_kept():
    x = X.copy()
    x.flags.writeable = False
    before = sys.getrefcount(x)
    product().build().run((x, W))
    assert sys.getrefcount(x) == before


@pytest.mark.parametrize("feed, text", [
    (X.astype(np.float64), "float32: received float64"),
    (X.T.copy().T, "not contiguous"),
    (X.astype(">f4"), "received >f4"),
    (X.tolist(), "received list"),
])
def test_a_feed_of_another_kind_is_a_type_error(feed, text):
    with pytest.raises(TypeError, match=rf"feed 0 \('x'\) must be .*{text}"):
        product().build().run([feed, W])


NOT_AS_PLANNED = {
    "another dtype": [X.astype(np.float64), W],
    "another byte order": [X.astype(">f4"), W],
    "another shape": [X[:4], W],
    "another rank": [X[None], W],
    "strided": [np.asfortranarray(X), W],
    "unaligned": [X, np.frombuffer(b" " + W.tobytes(), np.uint8)[1:].view(np.float32).reshape(4, 4)],
    "a subclass": [X, np.ma.masked_array(W)],
    "no array": [X, W.tolist()],
    "too few": [X],
    "too many": [X, W, W],
    "no sequence": {0: X, 1: W},
}


def test_an_offer_is_taken_where_the_feeds_are_as_planned():
    e = product().build()
    for feeds in [X, W], (X, W):
        for got, wanted in zip(e.offer(feeds), e.run(feeds)):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("feeds", NOT_AS_PLANNED.values(), ids=NOT_AS_PLANNED)
def test_an_offer_is_declined_where_the_feeds_are_not_as_planned(feeds):
    assert product().build().offer(feeds) is None


def test_an_offer_is_declined_where_a_feed_is_not_read_or_of_no_planned_shape():
    b = Builder().node("x", "_Arg", shape=(8, 4), T=FLOAT, index=1).node("r", "_Retval", ["x"], T=FLOAT, index=0)
    assert b.build().offer([X, X]) is None
    assert echo(FLOAT, (-1,)).offer([X[0]]) is None


def test_too_few_feeds_are_refused():
    with pytest.raises(_core.Error, match="takes 2 feeds: received 1") as e:
        product().build().run([X])
    assert e.value.code == 3


@pytest.mark.parametrize("number, dtype", [(1, "f4"), (2, "f8"), (3, "i4"), (4, "u1"), (5, "i2"), (6, "i1"), (9, "i8"),
                                           (10, "?"), (17, "u2"), (19, "f2"), (22, "u4"), (23, "u8")])
@pytest.mark.parametrize("size", [0, 3, 5000])
def test_every_dtype_and_size_passes_through(number, dtype, size):
    x = np.arange(size).astype(dtype)
    (y,) = echo(number, (size,)).run([x])
    assert y.dtype == x.dtype and y.flags.writeable and y.flags.c_contiguous
    np.testing.assert_array_equal(x, y)
    assert size == 0 or not np.shares_memory(x, y)


def test_bfloat16_is_a_record_and_takes_raw_bits():
    record = np.dtype([("bfloat16", "<u2")])
    bits = np.array([0x3f80, 0, 1], np.uint16)
    for feed in (bits, bits.view(record)):
        (y,) = echo(14).run([feed])
        assert y.dtype == record
        np.testing.assert_array_equal(y.view(np.uint16), bits)


def test_a_result_outlives_its_executable():
    x = np.arange(10000, dtype=np.float32)
    e = echo(FLOAT, x.shape)
    (y,) = e.run([x])
    del e
    gc.collect()
    np.testing.assert_array_equal(x, y)


def test_an_error_carries_code_and_node():
    b = Builder().node("x", "_Arg", shape=(2,), dtype=3, T=3, index=0).node("bad", "NoSuchOp", ["x"])
    with pytest.raises(_core.Error, match="NoSuchOp") as e:
        b.build()
    assert (e.value.code, e.value.node) == (12, "bad")
    executable = product().build()
    with pytest.raises(_core.Error) as e:
        executable.run([X, np.zeros((5, 4), np.float32)])
    assert (e.value.code, e.value.node) == (3, "xw")
    np.testing.assert_array_equal(executable.run([X, W])[1], X @ W)


def test_names_that_are_not_utf8_reach_the_message():
    with pytest.raises(_core.Error, match="\ufffd"):
        _core.parse(b"\x0a\x07\x0a\x01\xff\x1a\x02\xfe1")


def test_variables_can_be_read_and_written():
    r = _core.Resources()
    with pytest.raises(_core.Error, match="no variable 'v'") as e:
        r.get("v")
    assert e.value.code == 5
    r.set("v", X)
    r.set("w", W, "other")
    assert r.names() == [("", "v"), ("other", "w")]
    r.get("v")[:] = 0
    np.testing.assert_array_equal(r.get("v"), X)
    with pytest.raises(_core.Error, match=r"variable 'v' is float32 \(8, 4\): received float32 \(4, 4\)"):
        r.set("v", W)
    r.reset()
    assert r.names() == [("other", "w")]


def test_every_node_is_timed():
    results, calls = product().build().run_timed([X, W])
    assert len(results) == 2 and sorted(name for name, *_ in calls) == ["r0", "r1", "xw", "y"]
    assert all(0 <= start <= end and thread == 0 for _, start, end, thread, *_ in calls)
    assert all(a[2] <= b[1] for a, b in zip(calls, calls[1:]))
    xw = X @ W
    by_name = {name: rest for name, *rest in calls}
    assert by_name["xw"][3:6] == [[("float32", xw.shape, xw.nbytes)], "MatMul", ["x", "w"]]


def test_threads_share_an_executable():
    e = product().build()
    wrong = []

    def work(k):
        x = X * k
        for _ in range(200):
            if not np.array_equal(e.run([x, W])[1], x @ W):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_every_prefix_is_read_or_refused():
    data = product().graph.SerializeToString()
    for n in range(len(data)):
        try:
            _core.parse(data[:n])
        except _core.Error as e:
            assert e.code == 15


def test_whatever_protobuf_reads_is_read_the_same():
    """On mutated graphs; what we refuse beyond protobuf must be about tensors, dimensions or links."""
    b = product()
    value = b.graph.node.add(name="c", op="Const").attr["value"].tensor
    value.dtype = FLOAT
    value.tensor_shape.dim.add(size=4)
    value.float_val.extend([1, 2])
    b.graph.node[0].attr["list"].list.i.extend([1, -1, 1 << 40])
    seed = b.graph.SerializeToString(deterministic=True)
    rng = random.Random(3)
    both = 0
    for _ in range(5000):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            data[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff, data[at] ^ (1 << rng.randrange(8))])
        try:
            expected = pb.GraphDef.FromString(bytes(data))
        except DecodeError:
            expected = None
        try:
            nodes = _core.parse(bytes(data))
        except _core.Error as e:
            assert expected is None or any(s in str(e) for s in ("[graph]", "tensor", "dimension")), str(e)
            continue
        if expected is not None:
            assert nodes == len(expected.node)
            both += 1
    assert both > 500


def test_a_node_of_other_types_or_too_few_inputs_is_refused():
    """Graphs need not come from our own serializer."""
    other = Builder().node("x", "_Arg", shape=(2,), dtype=2, T=2, index=0).node("y", "Round", ["x"], (2,), T=FLOAT)
    with pytest.raises(_core.Error, match="float32 tensor is needed, got float64") as e:
        other.node("r", "_Retval", ["y"], T=FLOAT, index=0).build().run([np.zeros(2)])
    assert (e.value.code, e.value.node) == (3, "y")
    few = Builder().node("x", "_Arg", shape=(2,), T=FLOAT, index=0).node("y", "AddV2", ["x"], (2,), T=FLOAT)
    with pytest.raises(_core.Error, match="must have input 1: it has 1"):
        few.node("r", "_Retval", ["y"], T=FLOAT, index=0).build().run([np.zeros(2, np.float32)])
    none = Builder().node("x", "_Arg", shape=(2,), T=FLOAT, index=0).node("y", "Round", ["x"], T=FLOAT)
    with pytest.raises(_core.Error, match="must have output 0"):
        none.build().run([np.zeros(2, np.float32)])


@pytest.mark.parametrize("op, attrs", [("Cast", {"SrcT": 2, "DstT": FLOAT}), ("Snapshot", {"T": FLOAT})])
def test_elements_of_another_size_are_refused(op, attrs):
    b = Builder().node("x", "_Arg", shape=(2,), T=FLOAT, index=0).node("y", op, ["x"], (2,), dtype=2)
    for key, dtype in attrs.items():
        b.graph.node[-1].attr[key].type = dtype
    with pytest.raises(_core.Error, match=rf"\[{op}\] .* must be .*got float32 and float64"):
        b.node("r", "_Retval", ["y"], T=2, index=0).build().run([np.zeros(2, np.float32)])
