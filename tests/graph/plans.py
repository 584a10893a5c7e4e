"""For tests of passes: the plan of some fetches, and what it computes with a pass and without."""
import contextlib

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import passes
from ringflow.graph.passes import extract
from ringflow.graph.topology import topological_order


def placeholders(*shapes, dtype=rf.float32):
    return [rf.placeholder(dtype, s) for s in shapes]


def extracted(fetches, feeds=(), targets=()):
    """The program before the passes."""
    return extract(rf.get_default_graph(), fetches, targets, feeds, [t.shape for t in feeds])


def optimised(fetches, feeds=(), targets=()):
    return passes.optimise(extracted(fetches, feeds, targets))


def kinds(program):
    return [op.type for op in program.graph.get_operations()]


def nodes(program, *types):
    """Its operations of these types, in an order in which they can run."""
    return [op for op in topological_order(program.graph.get_operations()) if op.type in types]


@contextlib.contextmanager
def without(function):
    """Plans made inside leave a pass out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PASSES", [p for p in passes.PASSES if p[1] is not function])
        yield


def normal(feeds, scale=1.0):
    """A value for each of the feeds."""
    rng = np.random.default_rng(3)
    return {t: (scale * rng.standard_normal(t.shape.as_list())).astype(t.dtype.as_numpy_dtype) for t in feeds}


def run(fetches, values, backend=None, threads=1):
    """What the fetches are in a session of its own, variables as they begin."""
    with rf.Session(backend=backend, config=rf.ConfigProto(intra_op_parallelism_threads=threads)) as session:
        session.run(rf.global_variables_initializer())
        return session.run(list(fetches), values)


def same_bits(fetches, values, function):
    """Whether the fetches have the same bits on one thread, on three, and without a pass."""
    def bits(threads=1):
        return [a.tobytes() for a in run(fetches, values, threads=threads)]

    planned = bits()
    with without(function):
        as_written = bits()
    return planned == as_written and planned == bits(threads=3)
