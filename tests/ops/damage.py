"""Damages graphs of single nodes and runs them: what a kernel is given then may be anything, and must end in an error.

    cd tests && python -m ops.damage FIRST_SEED COUNT [OP ...]    # prints each seed and case before it runs

Seeded: a seed that ends the process can be run again alone, with COUNT 1.
"""
import random
import resource
import sys

import numpy as np
from ringflow import _core
from ringflow.graph.files.wire import to_graph_def
from ringflow.graph.graph import Graph

from .op_cases import base_cases, source_nodes

OPS = {"DynamicStitch", "ParallelDynamicStitch", "ResourceGather", "Where", "Assign", "GatherV2", "StridedSlice",
       "MaxPool", "Conv2D", "SparseToDense", "SparseReshape", "QueueEnqueueV2", "QueueDequeueManyV2", "BarrierTakeMany",
       "AccumulatorTakeGradient", "SparseAccumulatorApplyGradient", "MutexLock"}
INTS = [0, 1, -1, 2, 7, 2**31 - 1, -2**31, 2**62, -2**62, 2**63 - 1, -2**63]
NAMES = [b"Sum", b"Softmax", b"ColumnSum", b"AddV2", b"Conv2D", b""]  # in recipes of fused ops
TYPES = [1, 2, 3, 7, 9, 10, 19, 20, 21]


def damage(graph_def, rng):
    node = rng.choice(graph_def.node)
    for _ in range(rng.randint(1, 2)):
        kind = rng.randrange(6)
        if kind == 0 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(graph_def.node).name
        elif kind == 1 and node.input:
            del node.input[rng.randrange(len(node.input))]
        elif kind == 2 and node.attr:
            damage_attr(node, rng.choice(sorted(node.attr)), rng)
        elif kind == 3:
            node.op = rng.choice(graph_def.node).op
        elif kind == 4 and node.input:
            node.input.append(node.input[0])
        else:
            for n in graph_def.node:
                if n.op == "Const" and rng.random() < 0.5:
                    damage_integers(n.attr["value"].tensor, rng)


def damage_attr(node, key, rng):
    value = node.attr[key]
    kind = value.WhichOneof("value")
    if kind == "i":
        value.i = rng.choice(INTS)
    elif kind == "type":
        value.type = rng.choice(TYPES)
    elif kind == "b":
        value.b = not value.b
    elif kind == "list" and value.list.i:
        value.list.i[rng.randrange(len(value.list.i))] = rng.choice(INTS)
    elif kind == "list" and value.list.type:
        value.list.type[rng.randrange(len(value.list.type))] = rng.choice(TYPES)
    elif kind == "list" and value.list.s:
        value.list.s[rng.randrange(len(value.list.s))] = rng.choice(NAMES)
    elif kind == "list" and value.list.shape:
        shape = rng.choice(value.list.shape)
        shape.dim.add(size=rng.choice([0, 3]))
        rng.choice(shape.dim).size = rng.choice([0, 1, -1, 5, 2**40])
    else:
        del node.attr[key]


def damage_integers(tensor, rng):
    if tensor.tensor_content and tensor.dtype in (3, 9):
        values = np.frombuffer(tensor.tensor_content, np.int32 if tensor.dtype == 3 else np.int64).copy()
        values[rng.randrange(len(values))] = rng.choice([0, -1, 1, 100, 2**31 - 1, -2**31])
        tensor.tensor_content = values.tobytes()


def main(first, count, only=()):
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # a dimension of 2^31 is refused, not filled
    cases = [c for c in base_cases() if c.op.name in (only or OPS) and not c.refused()]
    for seed in range(first, first + count):
        rng = random.Random(seed)
        case = rng.choice(cases)
        print(seed, case.id, flush=True)
        graph, arrays = Graph(), case.arrays()
        op = case.build(graph, source_nodes(graph, case, arrays, [a.shape for a in arrays], [True] * len(arrays)))
        fetched = [t for t in op.outputs if not t.is_ref and t.dtype.kind != "h"]
        for i, t in enumerate(fetched):
            graph.create_op("_Retval", [t], {"T": t.dtype, "index": i}, f"r{i}")
        graph_def = to_graph_def(graph, annotate=True)
        damage(graph_def, rng)
        try:
            _core.Executable(graph_def.SerializeToString(), _core.Resources()).run([], 300)
        except (_core.Error, TypeError, MemoryError):
            pass
    print("done")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
