"""Several elementwise ops of one shape as one node, which the fusion pass makes (passes/fusion)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..define import Array, attr, define
from ..dtypes import FLOATS
from ..opdef import OPS
from ..operation import Operation
from ..samples import normal, positive
from ..shapes import TensorShape, broadcast_all

# The ops with a formula of one or two operands; csrc/kernels/fused.cc has each of them.
FUSIBLE = frozenset(("Neg", "Abs", "Sign", "Square", "Reciprocal", "Sqrt", "Rsqrt", "Exp", "Log", "Log1p", "Floor",
                     "Relu", "Relu6", "Elu", "Sigmoid", "Tanh", "Softplus", "AddV2", "Sub", "Mul", "RealDiv",
                     "DivNoNan", "Maximum", "Minimum", "SquaredDifference", "ReluGrad", "Relu6Grad", "EluGrad",
                     "SigmoidGrad", "TanhGrad", "SoftplusGrad", "SqrtGrad", "RsqrtGrad", "ReciprocalGrad"))


@define("_Fused(inputs: N*T) -> outputs: M*T", T=FLOATS, ops=attr("list(string)"), args=attr("list(int)"),
        results=attr("list(int)"), differentiable=False)
def fused(inputs: Sequence[Array], *, ops: list[str], args: list[int], results: list[int]) -> list[Array]:
    """`ops` one after another; operand i < N is input i, operand N + k the result of op k. `args` holds two operands
    for each op (the second repeats the first where the op takes one), `results` the ops whose results are the outputs;
    the first of them is the last op. All results have one shape, to which the inputs broadcast."""
    values: list[Array] = list(np.broadcast_arrays(*inputs))
    for k, name in enumerate(ops):
        operands = [values[i] for i in args[2 * k:2 * k + 2]]
        values.append(np.asarray(OPS[name].reference(*operands[:len(OPS[name].inputs)])))
    return [values[len(inputs) + k] for k in results]


@fused.shape
def _(op: Operation) -> list[TensorShape]:
    return [broadcast_all((t.shape for t in op.inputs), op.type)] * len(op.outputs)


def _sample_each() -> None:
    """Every op between two others, with the operand repeated in each way, over several tiles and a rest."""
    shapes = ((), (35,), (1, 35), (67, 1), (67, 35))
    for i, name in enumerate(sorted(FUSIBLE)):
        fused.sample([positive(67, 35), positive(*shapes[i % len(shapes)])], ops=["Mul", name, "AddV2"],
                     args=[0, 1, 2, 0 if name != "Log" else 2, 3, 1], results=[2, 1] if i % 2 else [2], M=1 + i % 2)


_sample_each()
fused.sample([normal(3, 4), normal(3, 4)], ops=["Sub"], args=[1, 0], results=[0], M=1)
fused.sample([normal(0, 4), normal(4)], ops=["Sub", "Tanh"], args=[1, 0, 2, 2], results=[1, 0], M=2)
fused.sample([normal(2, 3, 5), normal(3, 1), normal(5), normal(2, 1, 1)], ops=["Sub", "Mul", "Tanh", "Maximum"],
             args=[0, 1, 4, 2, 5, 5, 6, 3], results=[3, 0], M=2)
fused.sample([normal(3, 1500), normal(1500), normal(3, 1)], ops=["Mul", "AddV2"], args=[0, 1, 3, 2], results=[1], M=1)
