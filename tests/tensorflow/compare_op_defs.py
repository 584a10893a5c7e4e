"""Prints where an OpList differs from TensorFlow's op definitions of the same names. Run by a Python with TensorFlow.

    python compare_op_defs.py graph/ops/ops.pbtxt

The rule: names, order and types of arguments are equal; so are the kinds and defaults of attrs. We may allow fewer
values of an attr, and leave out an attr that the importer drops where it holds its default (an attr that only hints at
how to compute). We may not have an attr, or allow a value, that TensorFlow refuses. The flags "stateful" agree;
"commutative" is said only where TensorFlow says it. Exceptions are listed below, with their reasons.
"""
import sys

from google.protobuf import text_format
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.framework import op_def_registry, tensor_util

HINTS = {"grad_a", "grad_b", "grad_x", "grad_y", "use_cudnn_on_gpu", "bad_indices_policy", "index_type", "Tk"}

# Computed in float64 too, so that gradients can be held to central differences; float32 graphs are not affected.
IN_FLOAT64 = {"FusedBatchNormV3", "FusedBatchNormGradV3", "LRN", "LRNGrad"}
DT_FLOAT, DT_DOUBLE, DT_INT32 = 1, 2, 3

# Collectives between ranks that share a name with TensorFlow's, and nothing else.
OURS = {"CollectiveReduce", "CollectiveGather"}


def argument(arg, dropped):
    """What counts of an argument. Of an attr that is left out, its default stands for the type."""
    dtype = DT_INT32 if arg.type_attr in dropped else arg.type
    type_attr = "" if arg.type_attr in dropped else arg.type_attr
    return arg.name, dtype, type_attr, arg.number_attr, arg.type_list_attr, arg.is_ref


def value(attr):
    """An AttrValue that compares by meaning: constants have several encodings."""
    if attr.WhichOneof("value") == "tensor":
        return tensor_util.MakeNdarray(attr.tensor).tolist()
    return text_format.MessageToString(attr, as_one_line=True)


def allowed(attr):
    return set(attr.allowed_values.list.type) | set(attr.allowed_values.list.s)


def differences(ours, theirs):
    mine, other = ({a.name: a for a in op.attr} for op in (ours, theirs))
    dropped = set(other) - set(mine)
    for name in sorted(dropped - HINTS):
        yield f"lacks attr {name}"
    for name in sorted(set(mine) - set(other)):
        yield f"has attr {name}, which TensorFlow has not"
    for kind in ("input_arg", "output_arg"):
        a, b = ([argument(x, dropped) for x in getattr(op, kind)] for op in (ours, theirs))
        if ours.name in IN_FLOAT64:
            a, b = ([(n, "", "U") if (t or ta) in (DT_FLOAT, "U") else (n, t, ta) for n, t, ta, *_ in x]
                    for x in (a, b))
        if a != b:
            yield f"{kind}: {a}, TensorFlow {b}"
    for name in sorted(set(mine) & set(other)):
        a, b = mine[name], other[name]
        if a.type != b.type:
            yield f"attr {name} is {a.type}, TensorFlow {b.type}"
        if a.HasField("default_value") != b.HasField("default_value") or value(a.default_value) != \
                value(b.default_value):
            yield f"attr {name}: default {value(a.default_value)}, TensorFlow {value(b.default_value)}"
        beyond = allowed(a) - allowed(b) - ({DT_DOUBLE} if ours.name in IN_FLOAT64 else set())
        if allowed(b) and (beyond or not allowed(a)):
            yield f"attr {name} allows {beyond or 'anything'}, TensorFlow {allowed(b)}"
    if ours.is_stateful != theirs.is_stateful:
        yield f"stateful: {ours.is_stateful}, TensorFlow {theirs.is_stateful}"
    if ours.is_commutative and not theirs.is_commutative:
        yield "commutative, which TensorFlow does not say"


def main(path):
    ours = op_def_pb2.OpList()
    with open(path) as file:
        text_format.Parse(file.read(), ours)
    shared = 0
    for op in ours.op:
        theirs = op_def_registry.get(op.name)
        if theirs is None or op.name in OURS:
            continue
        shared += 1
        for difference in differences(op, theirs):
            print(f"{op.name}: {difference}")
    print(f"{shared} of {len(ours.op)} ops compared")


if __name__ == "__main__":
    main(sys.argv[1])
