"""Cells made of cells: several one above the other, with dropout, with a bypass."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InvalidArgumentError
from ..nest import map_structure
from ..operation import Tensor
from ..ops.concat import concat, split
from ..state.variable_scope import variable_scope
from ..state.variables import Variable
from .cells import Ahead, LSTMStateTuple, RNNCell
from .neural import dropout


class MultiRNNCell(RNNCell):
    """Cells one above the other: the output of each is the input of the next. The state is a tuple of theirs."""

    base_name = "multi_rnn_cell"

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        """Raises: InvalidArgumentError where there are no cells, or a cell's state is a tuple and the joint one not."""
        super().__init__()
        if not cells:
            raise InvalidArgumentError("[MultiRNNCell] at least one cell is needed")
        if not state_is_tuple and any(isinstance(c.state_size, tuple) for c in cells):
            raise InvalidArgumentError("[MultiRNNCell] states that are tuples cannot be joined. Fix: pass "
                                       "state_is_tuple=True")
        self._cells, self._tuple = list(cells), state_is_tuple

    @property
    def state_size(self) -> Any:
        sizes = tuple(c.state_size for c in self._cells)
        return sizes if self._tuple else sum(sizes)

    @property
    def output_size(self) -> Any:
        return self._cells[-1].output_size

    @property
    def variables(self) -> list[Variable]:
        return [v for c in self._cells for v in c.variables]

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        return self._through(self._cells[0], inputs, state, scope)

    def ahead(self, inputs: Tensor) -> Ahead | None:
        with variable_scope(self.base_name), variable_scope("cell_0"):
            first = self._cells[0].ahead(inputs)
        if first is None or type(self).__call__ is not MultiRNNCell.__call__:
            return None
        return Ahead(first.rows, lambda row, state: self._through(first.step, row, state))

    def _through(self, first: Callable[..., tuple[Any, Any]], inputs: Any, state: Any, scope: Any = None
                 ) -> tuple[Any, Any]:
        """One step, in which `first` stands for the first cell."""
        states = state if self._tuple else split(state, [c.state_size for c in self._cells], 1)
        if len(states) != len(self._cells):
            raise InvalidArgumentError(f"[MultiRNNCell] each of {len(self._cells)} cells needs a state: got "
                                       f"{len(states)}")
        cells: list[Callable[..., tuple[Any, Any]]] = [first, *self._cells[1:]]
        new = []
        with variable_scope(scope or self.base_name):
            for i, (cell, own) in enumerate(zip(cells, states)):
                with variable_scope(f"cell_{i}"):
                    inputs, own = cell(inputs, own)
                new.append(own)
        return inputs, (tuple(new) if self._tuple else concat(new, 1))


class _Wrapper(RNNCell):
    """A cell around another."""

    def __init__(self, cell: RNNCell) -> None:
        super().__init__()
        self._cell = cell

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    @property
    def variables(self) -> list[Variable]:
        return self._cell.variables

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)


class DropoutWrapper(_Wrapper):
    """Dropout on the inputs, the outputs and the state of a cell; the memory c of an LSTM is left alone."""

    def __init__(self, cell: RNNCell, input_keep_prob: Any = 1.0, output_keep_prob: Any = 1.0,
                 state_keep_prob: Any = 1.0, seed: int | None = None) -> None:
        """Args: the probabilities to keep a number, each may be a tensor."""
        super().__init__(cell)
        self._input, self._output, self._state, self._seed = input_keep_prob, output_keep_prob, state_keep_prob, seed

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        return self._thinned(*self._cell(self._dropped(inputs, self._input), state, scope))

    def ahead(self, inputs: Tensor) -> Ahead | None:
        kept = isinstance(self._input, (int, float)) and self._input == 1
        inner = self._cell.ahead(inputs) if kept and type(self).__call__ is DropoutWrapper.__call__ else None
        if inner is None:
            return None
        advance = inner.step
        return Ahead(inner.rows, lambda row, state: self._thinned(*advance(row, state)))

    def _thinned(self, output: Any, state: Any) -> tuple[Any, Any]:
        return self._dropped(output, self._output), self._dropped_state(state)

    def _dropped(self, value: Any, keep: Any) -> Any:
        if isinstance(keep, (int, float)) and keep == 1:
            return value
        return dropout(value, keep_prob=keep, seed=self._seed)

    def _dropped_state(self, state: Any) -> Any:
        if isinstance(state, LSTMStateTuple):
            return LSTMStateTuple(state.c, self._dropped(state.h, self._state))
        if isinstance(state, (tuple, list)):
            parts = [self._dropped_state(s) for s in state]
            return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
        return self._dropped(state, self._state)


class ResidualWrapper(_Wrapper):
    """output = input + output of the cell, or what `residual_fn(input, output)` says."""

    def __init__(self, cell: RNNCell, residual_fn: Callable[[Any, Any], Any] | None = None) -> None:
        super().__init__(cell)
        self._join = residual_fn or (lambda inputs, outputs: map_structure(lambda a, b: a + b, inputs, outputs))

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        output, new = self._cell(inputs, state, scope)
        return self._join(inputs, output), new
