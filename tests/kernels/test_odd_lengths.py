"""Elementwise ops, reductions and softmax over 0 to 70 elements, on every instruction set: vectors and what is left.

An elementwise op is held to its reference over 70 elements, and over fewer to the bits that it gave there: a result may
not depend on where a loop ends, nor on the alignment of its inputs. That is too little work for several threads.
"""
import numpy as np
import pytest

pytest.importorskip("ringflow._core")
from ringflow.graph import dtypes, ops  # noqa: E402, F401  (ops fills the registry)
from ringflow.graph.opdef import OPS  # noqa: E402

from .one_op import SETS, OneOp, using, whole  # noqa: E402

MOST = 70  # more than four vectors of 16


def takes_floats(op):
    allowed = getattr(op.attrs.get("T"), "allowed", None)
    return op.elementwise and not any(a.is_list for a in op.inputs) and all(a.type_attr == "T" for a in op.inputs) and (
        not allowed or dtypes.float32 in allowed)


ELEMENTWISE = sorted(name for name, op in OPS.items() if takes_floats(op))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_an_elementwise_op_gives_the_same_bits_wherever_its_loop_ends(kind, dtype):
    rng = np.random.default_rng(len(kind))
    arrays = [rng.uniform(0.2, 3, MOST).astype(dtype) for _ in OPS[kind].inputs]
    op = OneOp(kind, arrays)
    op.check(*arrays)
    for isa in SETS:
        with using(isa, 1):
            [all_of_them] = op.run(*arrays)
            for n in range(MOST + 1 if dtype is np.float32 else MOST // 2 + 1):
                first = n % 2
                [some] = op.run(*(a[first:n] for a in arrays))
                assert some.tobytes() == all_of_them[first:n].tobytes(), f"elements {first} to {n} on {isa}"


@pytest.mark.parametrize("kind", ["Sub", "Maximum"])
def test_rows_columns_and_scalars_of_any_length_broadcast(kind):
    rng = np.random.default_rng(1)
    shapes = lambda n: [((3, n), (n,)), ((n,), (3, n)), ((3, n), (3, 1)), ((n, 1), (1, 5)), ((3, n), ())]  # noqa: E731
    pairs = [OneOp(kind, [np.zeros(s, np.float32) for s in pair]) for pair in shapes(1)]
    for n in range(0, MOST + 1):
        for op, (x, y) in zip(pairs, shapes(n)):
            op.check(whole(rng, *x), whole(rng, *y), exact=True, threads=())


@pytest.mark.parametrize("choice", ["all", "row", "column"])
def test_choices_of_any_length_between_rows_columns_and_scalars_broadcast(choice):
    rng = np.random.default_rng(8)
    shapes = lambda n: {"all": (3, n), "row": (n,), "column": (3, 1)}  # noqa: E731
    sides = lambda n: [(3, n), (3, 1), (n,), ()]  # noqa: E731
    zeros, condition = [np.zeros(s, np.float32) for s in sides(1)], np.zeros(shapes(1)[choice], bool)
    picks = [(i, j, OneOp("SelectV2", [condition, a, b])) for i, a in enumerate(zeros) for j, b in enumerate(zeros)]
    for n in range(MOST + 1):
        condition = rng.integers(0, 2, shapes(n)[choice]) > 0
        for i, j, op in picks:
            op.check(condition, whole(rng, *sides(n)[i]), whole(rng, *sides(n)[j]), exact=True, threads=())


@pytest.mark.parametrize("rows", [1, 18])
@pytest.mark.parametrize("kind", ["Sum", "Max", "Min", "Mean", "Prod", "ArgMax", "ArgMin"])
def test_reductions_of_any_length_equal_their_references(kind, rows):
    rng = np.random.default_rng(2)
    picks = kind.startswith("Arg")
    ops_by_axes = {axes: OneOp(kind, [np.zeros((1, 1), np.float32), np.array(axes, np.int32)])
                   for axes in ((0, 1) if picks else ((0,), (1,), (0, 1)))}
    for n in range(1 if picks else 0, MOST + 1):
        x = rng.choice([-1, 1], (rows, n)).astype(np.float32) if kind == "Prod" else whole(rng, rows, n)
        for axes, op in ops_by_axes.items():
            op.check(x, np.array(axes, np.int32), exact=kind != "Mean", threads=())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
def test_the_first_extreme_or_nan_of_a_long_row_is_found(kind, dtype):
    rng, axis = np.random.default_rng(9), np.array(1, np.int32)
    op = OneOp(kind, [np.zeros((1, 1), dtype), axis])
    for n in (1023, 1024, 1025, 5000):
        x = whole(rng, 40, n, dtype=dtype)
        sign = 1 if kind == "ArgMax" else -1
        for row in x[10:]:  # an extreme twice, or NaN twice, anywhere
            row[rng.integers(0, n, 2)] = np.nan if rng.integers(2) and x.dtype.kind == "f" else 9 * sign
        op.check(x, axis, exact=True)


@pytest.mark.parametrize("kind", ["Any", "All"])
def test_logical_reductions_of_any_length_equal_their_references(kind):
    rng = np.random.default_rng(3)
    op = OneOp(kind, [np.zeros((1, 1), bool), np.zeros(1, np.int32)])
    for n in range(MOST + 1):
        for axis in (0, 1):
            op.check(rng.integers(0, 2, (4, n)) > 0, np.array([axis], np.int32), threads=())


@pytest.mark.parametrize("rows", [1, 7])
def test_softmax_and_cross_entropies_of_any_number_of_classes_equal_their_references(rows):
    rng = np.random.default_rng(4)
    one, label = np.zeros((1, 1), np.float32), np.zeros(1, np.int32)
    softmax, log_softmax = OneOp("Softmax", [one]), OneOp("LogSoftmax", [one])
    dense, sparse = (OneOp("SoftmaxCrossEntropyWithLogits", [one, one]),
                     OneOp("SparseSoftmaxCrossEntropyWithLogits", [one, label]))
    for n in range(1, MOST + 1):
        x, target = 5 * rng.standard_normal((2, rows, n)).astype(np.float32)
        softmax.check(x, threads=())
        log_softmax.check(x, threads=())
        dense.check(x, np.abs(target), threads=())
        sparse.check(x, rng.integers(0, n, rows).astype(np.int32), threads=())
