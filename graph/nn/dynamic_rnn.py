"""Recurrent networks in a loop along time: the number of steps may be known to a run only.

They give the numbers of ``static_rnn`` from the same variables. Inputs are (batch, time, ...), or (time, batch, ...)
with `time_major`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..control_flow import while_loop
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..nest import assert_same_structure, flatten, map_structure, pack_sequence_as
from ..operation import Tensor
from ..ops.reverse import reverse, reverse_sequence
from ..ops.rules import build
from ..shapes import TensorShape
from ..state.tensor_array import TensorArray
from ..state.variable_scope import variable_scope
from .cells import RNNCell, zeros_for
from .rnn import ahead_of, chosen, initial_state_of, lengths_of


def dynamic_rnn(cell: RNNCell, inputs: Any, sequence_length: Any = None, initial_state: Any = None, dtype: Any = None,
                parallel_iterations: int | None = None, swap_memory: bool = False, time_major: bool = False,
                scope: Any = None) -> tuple[Any, Any]:
    """(outputs, final state) of a cell that runs along time in a loop; outputs are (batch, time, output_size).

    Args: as for ``static_rnn``; inputs: a tensor (batch, time, ...), or a structure of them, whose last dimension is
    known; time_major: inputs and outputs are (time, batch, ...).
    """
    with variable_scope(scope or "rnn"):
        by_time = map_structure(convert_to_tensor, inputs)
        if not time_major:
            by_time = map_structure(_swapped, by_time)
        state = initial_state_of(cell, initial_state, dtype, flatten(by_time)[0], batch_axis=1, where="dynamic_rnn")
        lengths = lengths_of(sequence_length)
        batch = flatten(by_time)[0].shape[1:2]
        if lengths is not None and not lengths.shape.is_compatible_with(batch):
            raise InvalidArgumentError(f"[dynamic_rnn] 'sequence_length' must be (batch,): it has shape "
                                       f"{lengths.shape}, the batch {batch}. Fix: a length for each row of inputs")
        outputs, final = _loop(cell, by_time, state, lengths, parallel_iterations or 32, swap_memory)
        return (outputs if time_major else map_structure(_swapped, outputs)), final


def _loop(cell: RNNCell, inputs: Any, initial: Any, lengths: Tensor | None, parallel_iterations: int, swap_memory: bool
          ) -> tuple[Any, Any]:
    """The loop over (time, batch, ...)."""
    ahead = ahead_of(cell, inputs)
    advance: Any = ahead.step if ahead else cell
    inputs = ahead.rows if ahead else inputs
    first = flatten(inputs)[0]
    steps = first.shape[0] if first.shape[0] is not None else build("Shape", first)[0]
    batch = first.shape[1] if first.shape[1] is not None else build("Shape", first)[1]
    of_state = flatten(initial)[0].dtype
    sources = [TensorArray(x.dtype, size=steps, name=f"input_{i}").unstack(x) for i, x in enumerate(flatten(inputs))]
    targets = [TensorArray(of_state, size=steps, element_shape=TensorShape([first.shape[1]]).concatenate(_dims(n)),
                           name=f"output_{i}") for i, n in enumerate(flatten(cell.output_size))]
    zeros = [zeros_for(batch, n, of_state) for n in flatten(cell.output_size)] if lengths is not None else []

    def step(time: Tensor, arrays: Any, state: Any) -> tuple[Any, Any, Any]:
        rows = [s.read(time) for s in sources]
        for row, x in zip(rows, flatten(inputs)):
            row.set_shape(x.shape[1:])
        output, new = advance(pack_sequence_as(inputs, rows), state)
        assert_same_structure(state, new, "dynamic_rnn")
        values = flatten(output)
        if lengths is not None:
            done = build("GreaterEqual", time, lengths)
            values = chosen(done, zeros, values)
            new = chosen(done, state, new)
        return time + 1, tuple(a.write(time, v) for a, v in zip(arrays, values)), new

    _, arrays, final = while_loop(lambda time, *_: build("Less", time, steps), step,
                                  (convert_to_tensor(np.array(0, np.int32)), tuple(targets), initial),
                                  parallel_iterations=parallel_iterations, swap_memory=swap_memory)
    outputs = [a.stack() for a in arrays]
    for value, n in zip(outputs, flatten(cell.output_size)):
        value.set_shape(TensorShape([first.shape[0], first.shape[1]]).concatenate(_dims(n)))
    return pack_sequence_as(cell.output_size, outputs), final


def _dims(size: Any) -> TensorShape:
    return size if isinstance(size, TensorShape) else TensorShape([size])


def _swapped(x: Tensor) -> Tensor:
    """(batch, time, ...) as (time, batch, ...) or the other way round."""
    if x.shape.rank is None or x.shape.rank < 2:
        raise InvalidArgumentError(f"[rnn] inputs must have a batch and a time dimension: {x!r}")
    result: Tensor = build("Transpose", x, np.array([1, 0, *range(2, x.shape.rank)], np.int32))
    return result


def bidirectional_dynamic_rnn(cell_fw: RNNCell, cell_bw: RNNCell, inputs: Any, sequence_length: Any = None,
                              initial_state_fw: Any = None, initial_state_bw: Any = None, dtype: Any = None,
                              parallel_iterations: int | None = None, swap_memory: bool = False,
                              time_major: bool = False, scope: Any = None) -> tuple[Any, Any]:
    """((outputs forward, outputs backward), (state forward, state backward)): one cell runs from the start of each
    sequence, the other from its end. Arguments as for ``dynamic_rnn``."""
    def turned(x: Any) -> Tensor:
        time, batch = (0, 1) if time_major else (1, 0)
        if sequence_length is None:
            return reverse(x, time)
        return reverse_sequence(x, lengths_of(sequence_length), seq_axis=time, batch_axis=batch)

    options: dict[str, Any] = {"sequence_length": sequence_length, "dtype": dtype, "swap_memory": swap_memory,
                               "parallel_iterations": parallel_iterations, "time_major": time_major}
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as forward:
            out_fw, state_fw = dynamic_rnn(cell_fw, inputs, initial_state=initial_state_fw, scope=forward, **options)
        with variable_scope("bw") as backward:
            out_bw, state_bw = dynamic_rnn(cell_bw, map_structure(turned, inputs), initial_state=initial_state_bw,
                                           scope=backward, **options)
            out_bw = map_structure(turned, out_bw)
    return (out_fw, out_bw), (state_fw, state_bw)


# ---- a loop that the caller steers
LoopFunction = Callable[[Tensor, Any, Any, Any], tuple[Any, Any, Any, Any, Any]]


def raw_rnn(cell: RNNCell, loop_fn: LoopFunction, parallel_iterations: int | None = None, swap_memory: bool = False,
            scope: Any = None) -> tuple[Any, Any, Any]:
    """(arrays of what was emitted, final state, final loop state) of a cell whose inputs `loop_fn` chooses.

    ``loop_fn(time, cell_output, cell_state, loop_state)`` returns (finished (batch,), next input, next state, what to
    emit, next loop state). At time 0 output and states are None; it then returns the initial state, and what is emitted
    looks like (None: the cell's output). Rows that are finished emit zeros and keep their state.
    """
    with variable_scope(scope or "rnn"):
        time = convert_to_tensor(np.array(0, np.int32))
        finished, x, state, like, loop_state = loop_fn(time, None, None, None)
        batch = flatten(x)[0].shape[0]
        batch = batch if batch is not None else build("Shape", flatten(x)[0])[0]
        if like is None:
            kinds = [(n, flatten(state)[0].dtype) for n in flatten(cell.output_size)]
            like = cell.output_size
        else:
            kinds = [(t.shape, t.dtype) for t in map(convert_to_tensor, flatten(like))]
        zeros = pack_sequence_as(like, [zeros_for(batch, n, dtype) for n, dtype in kinds])
        arrays = pack_sequence_as(like, [TensorArray(dtype, size=0, dynamic_size=True) for _, dtype in kinds])
        has_loop_state = loop_state is not None

        def step(time: Tensor, finished: Any, x: Any, arrays: Any, state: Any, loop_state: Any) -> tuple[Any, ...]:
            output, new = cell(x, state)
            later, next_x, new, emit, following = loop_fn(time + 1, output, new, loop_state if has_loop_state else None)
            emit = chosen(finished, zeros, output if emit is None else emit)
            new = chosen(finished, state, new)
            written = map_structure(lambda a, e: a.write(time, e), arrays, emit)
            return (time + 1, build("LogicalOr", finished, later), next_x, written, new,
                    following if has_loop_state else loop_state)

        _, _, _, arrays, state, loop_state = while_loop(
            lambda time, finished, *_: build("LogicalNot", build("All", finished, np.array([0], np.int32))), step,
            (time, finished, x, arrays, state, loop_state if has_loop_state else time),
            parallel_iterations=parallel_iterations or 32, swap_memory=swap_memory)
        return arrays, state, (loop_state if has_loop_state else None)
