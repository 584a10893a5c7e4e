"""Cells: one step of a recurrent network, output, state = cell(input, state).

Variables have TensorFlow 1's names below the scope in which a cell is first called (``rnn/basic_lstm_cell/kernel``);
later calls use the same ones. Sources: Hochreiter and Schmidhuber 1997, Gers et al. 2000 (forget gates, peepholes),
Sak et al. 2014 (projection), Cho et al. 2014 (GRU).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..nest import map_structure
from ..operation import Tensor
from ..ops.activation import sigmoid, tanh
from ..ops.bias import bias_add
from ..ops.concat import concat, split
from ..ops.core import zeros
from ..ops.math_binary import maximum, minimum
from ..ops.matmul import matmul_any as matmul
from ..ops.rules import build
from ..shapes import TensorShape
from ..state.initializers import constant_initializer, zeros_initializer
from ..state.variable_scope import VariableScope, get_variable, variable_scope
from ..state.variables import Variable

Activation = Callable[[Any], Tensor]
Linear = Callable[[str, Any], Tensor]  # (prefix of the variables, state): [inputs, state] @ kernel + bias


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM cell: memory c and output h, each (batch, units)."""

    c: Any
    h: Any


class Ahead(NamedTuple):
    """What steps need of their inputs, computed for many steps at once; and a step on one row of it."""

    rows: Tensor  # (steps, batch, ..)
    step: Callable[[Tensor, Any], tuple[Any, Any]]  # output, new state = step(row, state)


class RNNCell:
    """What cells share. A cell says its `state_size` and `output_size` and defines ``call``, and ``build`` for its
    variables; one that makes them itself by ``get_variable`` may define ``__call__`` instead."""

    base_name = "rnn_cell"

    def __init__(self, name: str | None = None, reuse: Any = None, dtype: Any = None) -> None:
        self._name, self._reuse = name, reuse
        self._dtype = None if dtype is None else dtypes.as_dtype(dtype)
        self._scope: VariableScope | None = None
        self._variables: dict[str, Variable] = {}

    @property
    def state_size(self) -> Any:
        """A number, or a structure of numbers."""
        raise NotImplementedError(f"{type(self).__name__}.state_size")

    @property
    def output_size(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.output_size")

    def build(self, depth: int, dtype: dtypes.DType) -> None:
        """Makes the variables, by ``self.add``, for inputs (batch, depth)."""

    def call(self, inputs: Tensor, state: Any) -> tuple[Any, Any]:
        """(output, new state). inputs: (batch, depth)."""
        raise NotImplementedError(f"{type(self).__name__}.call")

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        """One step. Raises: InvalidArgumentError where the depth of the inputs is not known at the first call."""
        inputs = convert_to_tensor(inputs)
        with self._entered(inputs, scope):
            return self.call(inputs, state)

    def ahead(self, inputs: Tensor) -> Ahead | None:
        """The product of all inputs (steps, batch, depth) with their part of the kernel, which is faster than one for
        each step. None where the cell has no such part, or is one that only its own ``call`` knows."""
        return None

    @contextmanager
    def _entered(self, inputs: Tensor, scope: Any = None) -> Iterator[None]:
        """The scope of the variables, made for inputs (.., depth) at the first time."""
        if self._scope is not None:
            with get_default_graph().name_scope(self._scope.name.rsplit("/", 1)[-1]):
                yield
            return
        with variable_scope(scope or self._name, default_name=self.base_name, reuse=self._reuse) as self._scope:
            self.build(_depth(inputs, self.base_name), self._dtype or inputs.dtype)
            yield

    def add(self, name: str, shape: Sequence[int], dtype: dtypes.DType, initializer: Any = None) -> Variable:
        variable = self._variables[name] = get_variable(name, shape, dtype, initializer)
        return variable

    @property
    def variables(self) -> list[Variable]:
        return list(self._variables.values())

    @property
    def trainable_variables(self) -> list[Variable]:
        return [v for v in self.variables if v.trainable]

    weights = trainable_weights = variables

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """A state of zeros for a batch, whose size may be a tensor."""
        with get_default_graph().name_scope(f"{type(self).__name__}ZeroState"):
            return map_structure(lambda n: zeros_for(batch_size, n, dtype), self.state_size)


def _depth(inputs: Tensor, where: str) -> int:
    depth = inputs.shape[-1] if inputs.shape.rank in (2, 3) else None
    if not isinstance(depth, int):
        raise InvalidArgumentError(f"[{where}] inputs must be (batch, depth) with a known depth: they have shape "
                                   f"{inputs.shape}")
    return depth


def zeros_for(batch_size: Any, size: Any, dtype: Any) -> Tensor:
    """Zeros (batch_size, size..)."""
    dims = list(TensorShape(size).known) if isinstance(size, TensorShape) else [size]
    if isinstance(batch_size, Tensor):
        shape = build("ConcatV2", [build("Reshape", batch_size, [1]), np.array(dims, np.int32)], 0)
        state = zeros(shape, dtype)
        state.set_shape([None, *dims])
        return state
    return zeros([batch_size, *dims], dtype)


class _UnitsCell(RNNCell):
    """A cell of `units` units."""

    def __init__(self, num_units: int, activation: Activation | None = None, reuse: Any = None, name: str | None = None,
                 dtype: Any = None) -> None:
        super().__init__(name, reuse, dtype)
        self._units = num_units
        self._activation = activation or tanh

    @property
    def state_size(self) -> Any:
        return self._units

    @property
    def output_size(self) -> Any:
        return self._units

    def advance(self, linear: Linear, state: Any) -> tuple[Any, Any]:
        """(output, new state) from what `linear` makes of the inputs and a state."""
        raise NotImplementedError(f"{type(self).__name__}.advance")

    def call(self, inputs: Tensor, state: Any) -> tuple[Any, Any]:
        def linear(prefix: str, h: Any) -> Tensor:
            return bias_add(matmul(concat([inputs, h], 1), self._variables[f"{prefix}kernel"]),
                            self._variables[f"{prefix}bias"])
        return self.advance(linear, state)

    def ahead(self, inputs: Tensor) -> Ahead | None:
        own = type(self)
        if own.call is not _UnitsCell.call or own.__call__ is not RNNCell.__call__ or inputs.shape.rank != 3:
            return None
        of_state: dict[str, Tensor] = {}  # by prefix: the rows of the kernel that the state meets
        products: list[Tensor] = []
        with self._entered(inputs):
            depth = _depth(inputs, self.base_name)
            for prefix in [n.removesuffix("bias") for n in self._variables if n.endswith("bias")]:
                kernel, bias = self._variables[f"{prefix}kernel"], self._variables[f"{prefix}bias"]
                of_inputs, of_state[prefix] = split(kernel, [depth, kernel.shape.known[0] - depth], 0)
                products.append(bias_add(matmul(inputs, of_inputs), bias))
            widths = [p.shape[-1] for p in products]
            rows = products[0] if len(products) == 1 else concat(products, 2)

        def step(row: Tensor, state: Any) -> tuple[Any, Any]:
            with self._entered(inputs):
                parts = dict(zip(of_state, [row] if len(widths) == 1 else split(row, widths, 1)))
                return self.advance(lambda prefix, h: parts[prefix] + matmul(h, of_state[prefix]), state)
        return Ahead(rows, step)


class BasicRNNCell(_UnitsCell):
    """output = state = activation([input, state] @ kernel + bias)"""

    base_name = "basic_rnn_cell"

    def build(self, depth: int, dtype: dtypes.DType) -> None:
        self.add("kernel", [depth + self._units, self._units], dtype)
        self.add("bias", [self._units], dtype, zeros_initializer())

    def advance(self, linear: Linear, state: Any) -> tuple[Any, Any]:
        output = self._activation(linear("", state))
        return output, output


class GRUCell(_UnitsCell):
    """r, u = sigmoid([input, state] @ gates + bias);
    state = u * state + (1 - u) * activation([input, r * state] @ candidate + bias)"""

    base_name = "gru_cell"

    def __init__(self, num_units: int, activation: Activation | None = None, reuse: Any = None,
                 kernel_initializer: Any = None, bias_initializer: Any = None, name: str | None = None,
                 dtype: Any = None) -> None:
        super().__init__(num_units, activation, reuse, name, dtype)
        self._kernel_initializer, self._bias_initializer = kernel_initializer, bias_initializer

    def build(self, depth: int, dtype: dtypes.DType) -> None:
        n = self._units
        for name, width, bias in (("gates", 2 * n, 1.0), ("candidate", n, 0.0)):
            self.add(f"{name}/kernel", [depth + n, width], dtype, self._kernel_initializer)
            self.add(f"{name}/bias", [width], dtype, self._bias_initializer or constant_initializer(bias))

    def advance(self, linear: Linear, state: Any) -> tuple[Any, Any]:
        r, u = split(sigmoid(linear("gates/", state)), 2, 1)
        candidate = self._activation(linear("candidate/", r * state))
        output = u * state + (1 - u) * candidate
        return output, output


class BasicLSTMCell(_UnitsCell):
    """c = sigmoid(f + forget_bias) * c + sigmoid(i) * activation(j); h = activation(c) * sigmoid(o),
    where i, j, f, o = [input, h] @ kernel + bias. The state is an LSTMStateTuple."""

    base_name = "basic_lstm_cell"

    def __init__(self, num_units: int, forget_bias: float = 1.0, state_is_tuple: bool = True,
                 activation: Activation | None = None, reuse: Any = None, name: str | None = None,
                 dtype: Any = None) -> None:
        """Args: state_is_tuple: False for a state of c and h joined, (batch, 2 units)."""
        super().__init__(num_units, activation, reuse, name, dtype)
        self._forget_bias, self._tuple = forget_bias, state_is_tuple

    @property
    def state_size(self) -> Any:
        return LSTMStateTuple(self._units, self._units) if self._tuple else 2 * self._units

    def build(self, depth: int, dtype: dtypes.DType) -> None:
        self.add("kernel", [depth + self._units, 4 * self._units], dtype)
        self.add("bias", [4 * self._units], dtype, zeros_initializer())

    def advance(self, linear: Linear, state: Any) -> tuple[Any, Any]:
        c, h = state if self._tuple else split(state, 2, 1)
        i, j, f, o = split(linear("", h), 4, 1)
        c = c * sigmoid(f + self._forget_bias) + sigmoid(i) * self._activation(j)
        h = self._activation(c) * sigmoid(o)
        return h, (LSTMStateTuple(c, h) if self._tuple else concat([c, h], 1))


class LSTMCell(_UnitsCell):
    """BasicLSTMCell with peepholes (gates see c), a clip of c, and a projection of h to fewer numbers."""

    base_name = "lstm_cell"

    def __init__(self, num_units: int, use_peepholes: bool = False, cell_clip: float | None = None,
                 initializer: Any = None, num_proj: int | None = None, proj_clip: float | None = None,
                 forget_bias: float = 1.0, state_is_tuple: bool = True, activation: Activation | None = None,
                 reuse: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(num_units, activation, reuse, name, dtype)
        self._peepholes, self._initializer, self._forget_bias = use_peepholes, initializer, forget_bias
        self._cell_clip, self._projection, self._projection_clip = cell_clip, num_proj, proj_clip
        self._tuple = state_is_tuple

    @property
    def output_size(self) -> Any:
        return self._projection or self._units

    @property
    def state_size(self) -> Any:
        return LSTMStateTuple(self._units, self.output_size) if self._tuple else self._units + self.output_size

    def build(self, depth: int, dtype: dtypes.DType) -> None:
        self.add("kernel", [depth + self.output_size, 4 * self._units], dtype, self._initializer)
        self.add("bias", [4 * self._units], dtype, zeros_initializer())
        for gate in "fio" if self._peepholes else "":
            self.add(f"w_{gate}_diag", [self._units], dtype, self._initializer)
        if self._projection:
            self.add("projection/kernel", [self._units, self._projection], dtype, self._initializer)

    def advance(self, linear: Linear, state: Any) -> tuple[Any, Any]:
        c, h = state if self._tuple else split(state, [self._units, self.output_size], 1)
        i, j, f, o = split(linear("", h), 4, 1)
        f = f + self._forget_bias
        c = sigmoid(self._peep("f", f, c)) * c + sigmoid(self._peep("i", i, c)) * self._activation(j)
        c = _clipped(c, self._cell_clip)
        h = sigmoid(self._peep("o", o, c)) * self._activation(c)
        if self._projection:
            h = _clipped(matmul(h, self._variables["projection/kernel"]), self._projection_clip)
        return h, (LSTMStateTuple(c, h) if self._tuple else concat([c, h], 1))

    def _peep(self, gate: str, value: Any, c: Any) -> Any:
        return value + self._variables[f"w_{gate}_diag"] * c if self._peepholes else value


def _clipped(x: Any, limit: float | None) -> Any:
    return x if limit is None else minimum(maximum(x, -float(limit)), float(limit))
