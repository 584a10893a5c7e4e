"""One node on fed arrays: what its kernel gives on every instruction set, on one to three threads, and its reference.

A kernel is chosen when it runs, so one executable serves all instruction sets that this processor has.
"""
from contextlib import contextmanager

import numpy as np
import ringflow as rf
from ringflow import _core
from ringflow.graph.dtypes import as_dtype
from ringflow.graph.interpreter import evaluate
from ringflow.graph.opdef import OPS

_NAMES = ("baseline", "avx2", "avx512")
SETS = _NAMES[:_NAMES.index(_core.isa()) + 1]  # those of this processor that RINGFLOW_ISA allows

# The error that a kernel may have against the reference, relative to the largest element.
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


@contextmanager
def using(isa, threads):
    """Kernels compute with the instruction set `isa` on so many threads."""
    before = _core.isa(), _core.intra_op_threads()
    _core.limit_isa(isa)
    _core.set_intra_op_threads(threads)
    try:
        yield
    finally:
        _core.limit_isa(before[0])
        _core.set_intra_op_threads(before[1])


def computed(run, *arrays, threads=(2, 3)):
    """(instruction set, outputs of run(*arrays)) on each set, once found to have the same bits on so many `threads`."""
    for isa in SETS:
        with using(isa, 1):
            outputs = run(*arrays)
        bits = [o.tobytes() for o in outputs]
        for several in threads:
            with using(isa, several):
                again = [o.tobytes() for o in run(*arrays)]
            assert again == bits, f"{isa}: {several} threads give other bits than one"
        yield isa, outputs


class OneOp:
    """A node of the op `kind`; its inputs have the dtypes and ranks of `arrays` and any size."""

    def __init__(self, kind, arrays, **attrs):
        graph = rf.Graph()
        with graph.as_default():
            inputs = [rf.placeholder(as_dtype(a.dtype), [None] * a.ndim) for a in arrays]
            made = OPS[kind](*inputs, **attrs)
        self.node = (made[0] if isinstance(made, (list, tuple)) else made).op
        # bound to the session, which the callable keeps alive
        self.run = rf.Session(graph=graph).make_callable(list(self.node.outputs), inputs)

    def check(self, *arrays, exact=False, outputs=None, threads=(2, 3)):
        """The kernel gives what the reference gives (its first `outputs` outputs, or all), equal where `exact`; and the
        same bits on so many `threads` as on one."""
        expected = [np.asarray(e) for e in evaluate(self.node, arrays)][:outputs]
        for isa, actual in computed(self.run, *arrays, threads=threads):
            for i, (a, e) in enumerate(zip(actual, expected)):
                where = f"{self.node.type} output {i} on {isa}, inputs {[x.shape for x in arrays]}"
                assert (a.dtype, a.shape) == (e.dtype, e.shape), where
                if np.array_equal(a, e):  # most often so, and far cheaper than what says where they differ
                    continue
                tolerance = 0 if exact else TOLERANCE.get(a.dtype, 0)
                largest = np.abs(e[np.isfinite(e)]).max(initial=0)
                np.testing.assert_allclose(a, e, tolerance, tolerance * largest, err_msg=where)


def check(kind, *arrays, exact=False, outputs=None, **attrs):
    """``OneOp(kind, ...).check(...)`` for one set of attrs and arrays."""
    OneOp(kind, arrays, **attrs).check(*arrays, exact=exact, outputs=outputs)


def whole(rng, *shape, dtype=np.float32):
    """Whole numbers from -4 to 4: products and sums of these are exact in any order, so one missing term shows."""
    return rng.integers(-4, 5, shape).astype(dtype)
