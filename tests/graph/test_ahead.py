"""Cells whose inputs are multiplied before the steps: the numbers of one step after the other, and who is left out."""
import numpy as np
import pytest
import ringflow as rf

from .plans import kinds, optimised

STEPS, BATCH, DEPTH = 5, 3, 4
cells = rf.nn.rnn_cell
CELL = {
    "basic": lambda: cells.BasicRNNCell(3),
    "gru": lambda: cells.GRUCell(3),
    "basic lstm": lambda: cells.BasicLSTMCell(3),
    "joined state": lambda: cells.BasicLSTMCell(3, state_is_tuple=False),
    "lstm": lambda: cells.LSTMCell(4, use_peepholes=True, num_proj=3, cell_clip=0.5),
    "stack": lambda: cells.MultiRNNCell([cells.GRUCell(5), cells.BasicLSTMCell(3)]),
    "wrapped": lambda: cells.DropoutWrapper(cells.GRUCell(3)),
}

pytestmark = pytest.mark.usefixtures("graph")


def numbers(fetches):
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        for i, v in enumerate(rf.global_variables()):
            v.load(np.random.default_rng(i).standard_normal(v.shape.as_list()), session)
        return session.run(fetches)


def stepwise(cell, x):
    """The outputs (steps, batch, ..) of a cell that is called for each step."""
    state, outputs = cell.zero_state(BATCH, rf.float64), []
    with rf.variable_scope("rnn", reuse=rf.AUTO_REUSE):
        for step in rf.unstack(x):
            output, state = cell(step, state)
            outputs.append(output)
    return rf.stack(outputs)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("kind", CELL)
def test_numbers_and_gradients_are_those_of_single_steps(kind, dynamic):
    x = rf.constant(np.random.default_rng(0).standard_normal((STEPS, BATCH, DEPTH)))
    cell = CELL[kind]()
    assert cell.ahead is not cells.RNNCell.ahead
    if dynamic:
        y, _ = rf.nn.dynamic_rnn(cell, x, dtype=rf.float64, time_major=True)
    else:
        y = rf.stack(rf.nn.static_rnn(cell, rf.unstack(x), dtype=rf.float64)[0])
    names = [v.name for v in rf.trainable_variables()]
    expected = stepwise(cell, x)
    assert [v.name for v in rf.trainable_variables()] == names, "the same variables"
    found = numbers([[z, *rf.gradients(rf.reduce_sum(z * z), [x, *rf.trainable_variables()])] for z in (y, expected)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_the_loop_multiplies_the_state_only():
    x = rf.placeholder(rf.float32, [None, None, DEPTH])
    y, _ = rf.nn.dynamic_rnn(cells.GRUCell(3), x, dtype=rf.float32)
    products = [op for op in optimised([y], [x]).graph.get_operations() if op.type == "MatMul"]
    assert sorted(op.inputs[1].shape.as_list() for op in products) == [[3, 3], [3, 6], [DEPTH, 3], [DEPTH, 6]]


class Doubled(cells.BasicLSTMCell):
    def call(self, inputs, state):
        return super().call(2.0 * inputs, state)


class Counted(cells.GRUCell):
    calls = 0

    def __call__(self, inputs, state, scope=None):
        self.calls += 1
        return super().__call__(inputs, state, scope)


def test_cells_that_do_something_of_their_own_with_inputs_are_called_with_them():
    x = rf.constant(np.random.default_rng(0).standard_normal((STEPS, BATCH, DEPTH)))
    doubled = Doubled(3)
    y = rf.stack(rf.nn.static_rnn(doubled, rf.unstack(x), dtype=rf.float64)[0])
    a, b = numbers([y, stepwise(doubled, x)])
    np.testing.assert_allclose(a, b, rtol=1e-12)
    counted = Counted(3)
    rf.nn.static_rnn(counted, rf.unstack(x), dtype=rf.float64, scope="counted")
    assert counted.calls == STEPS


@pytest.mark.parametrize("wrapped", [cells.ResidualWrapper, lambda c: cells.DropoutWrapper(c, input_keep_prob=0.5)],
                         ids=["residual", "dropout of inputs"])
def test_wrappers_that_need_the_inputs_get_them(wrapped):
    x = rf.constant(np.ones((STEPS, BATCH, DEPTH)))
    y, _ = rf.nn.dynamic_rnn(wrapped(cells.GRUCell(DEPTH)), x, dtype=rf.float64, time_major=True)
    assert "ConcatV2" in kinds(optimised([y]))
    assert numbers(y).shape == (STEPS, BATCH, DEPTH)
