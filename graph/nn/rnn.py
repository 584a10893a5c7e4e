"""Recurrent networks, unrolled: a cell called once for each step. Loops are in dynamic_rnn.py.

Past the length of a sequence the output is zeros and the state stays.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..nest import flatten, map_structure
from ..operation import Tensor
from ..ops.concat import concat
from ..ops.pack import stack, unstack
from ..ops.reverse import reverse_sequence
from ..ops.rules import build
from ..state.variable_scope import variable_scope
from .cells import Ahead, RNNCell


def static_rnn(cell: RNNCell, inputs: Sequence[Any], initial_state: Any = None, dtype: Any = None,
               sequence_length: Any = None, scope: Any = None) -> tuple[list[Any], Any]:
    """(outputs, final state) of a cell called once for each of `inputs`, a list of (batch, depth).

    Args: initial_state: default zeros of `dtype`; sequence_length: (batch,), how many steps count in each row; scope:
    of the variables (default "rnn"). Raises: InvalidArgumentError for no inputs, or neither state nor dtype.
    """
    if not isinstance(inputs, Sequence):
        raise InvalidArgumentError(f"[static_rnn] inputs must be a list, a tensor for each step: got {inputs!r}. "
                                   "Fix: rf.unstack(inputs, axis=1), or rf.nn.dynamic_rnn")
    if not inputs:
        raise InvalidArgumentError("[static_rnn] inputs are empty: at least one step is needed")
    with variable_scope(scope or "rnn") as varscope:
        steps = [map_structure(convert_to_tensor, x) for x in inputs]
        first = flatten(steps[0])[0]
        state = initial_state_of(cell, initial_state, dtype, first, batch_axis=0, where="static_rnn")
        lengths = lengths_of(sequence_length)
        ahead = ahead_of(cell, steps)
        rows = unstack(ahead.rows, len(steps)) if ahead else steps
        outputs = []
        for time, x in enumerate(rows):
            if time:
                varscope.reuse_variables()
            output, new_state = (ahead.step if ahead else cell)(x, state)
            if lengths is not None:
                done = build("GreaterEqual", np.array(time, np.int32), lengths)
                output = chosen(done, map_structure(lambda o: build("ZerosLike", o), output), output)
                new_state = chosen(done, state, new_state)
            outputs.append(output)
            state = new_state
        return outputs, state


def static_bidirectional_rnn(cell_fw: RNNCell, cell_bw: RNNCell, inputs: Sequence[Any], initial_state_fw: Any = None,
                             initial_state_bw: Any = None, dtype: Any = None, sequence_length: Any = None,
                             scope: Any = None) -> tuple[list[Any], Any, Any]:
    """(outputs, state forward, state backward); outputs[t] is (batch, sizes of both outputs together)."""
    def turned(steps: Sequence[Any]) -> list[Any]:
        if sequence_length is None:
            return list(reversed(steps))
        by_time = reverse_sequence(stack(steps), lengths_of(sequence_length), seq_axis=0, batch_axis=1)
        return unstack(by_time, len(steps))

    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as forward:
            out_fw, state_fw = static_rnn(cell_fw, inputs, initial_state_fw, dtype, sequence_length, forward)
        with variable_scope("bw") as backward:
            out_bw, state_bw = static_rnn(cell_bw, turned(inputs), initial_state_bw, dtype, sequence_length, backward)
    outputs = [concat([a, b], 1) for a, b in zip(out_fw, turned(out_bw))]
    return outputs, state_fw, state_bw


# ---- shared with the loops
def initial_state_of(cell: RNNCell, given: Any, dtype: Any, x: Tensor, batch_axis: int, where: str) -> Any:
    """The initial state: what was given, or zeros for the batch of `x`."""
    if given is not None:
        return map_structure(convert_to_tensor, given)
    if dtype is None:
        raise InvalidArgumentError(f"[{where}] either 'initial_state' or 'dtype' is needed")
    batch = x.shape[batch_axis] if x.shape.rank is not None else None
    return cell.zero_state(batch if batch is not None else build("Shape", x)[batch_axis], dtype)


def ahead_of(cell: Any, inputs: Any) -> Ahead | None:
    """What `cell` computes ahead for inputs (steps, batch, depth), or a list of (batch, depth); None for others, and
    for cells of another make."""
    if not isinstance(cell, RNNCell) or type(cell).ahead is RNNCell.ahead:
        return None
    if isinstance(inputs, list) and all(isinstance(x, Tensor) and x.shape == inputs[0].shape for x in inputs):
        inputs = stack(inputs)
    plain = isinstance(inputs, Tensor) and inputs.shape.rank == 3 and inputs.shape[-1] is not None
    return cell.ahead(inputs) if plain else None


def lengths_of(sequence_length: Any) -> Tensor | None:
    if sequence_length is None:
        return None
    lengths = convert_to_tensor(sequence_length)
    if lengths.shape.rank not in (None, 1):
        raise InvalidArgumentError(f"[rnn] 'sequence_length' must be (batch,): it has shape {lengths.shape}")
    result: Tensor = lengths if lengths.dtype is dtypes.int32 else build("Cast", lengths, DstT=dtypes.int32)
    return result


def chosen(rows: Tensor, a: Any, b: Any) -> Any:
    """Structures: rows of `a` where `rows` says so, of `b` elsewhere; scalars have no rows and are those of `b`."""
    def one(x: Any, y: Any) -> Any:
        if convert_to_tensor(y).shape.rank == 0:
            return y
        chosen = build("Select", rows, x, y)
        chosen.set_shape(y.shape)
        return chosen
    return map_structure(one, a, b)
