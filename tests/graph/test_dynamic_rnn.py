"""Networks in a loop give the numbers of unrolled ones, with the same variables."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("session")

LENGTHS = [4, 1, 3]
DATA = np.random.default_rng(3).standard_normal((3, 4, 5))
CELL = {
    "basic": lambda: rf.nn.rnn_cell.BasicRNNCell(3),
    "lstm": lambda: rf.nn.rnn_cell.LSTMCell(4, use_peepholes=True, num_proj=3),
    "stack": lambda: rf.nn.rnn_cell.MultiRNNCell([rf.nn.rnn_cell.BasicLSTMCell(3), rf.nn.rnn_cell.GRUCell(2)]),
}


def close(session, a, b, feeds=None):
    session.run(rf.global_variables_initializer())
    a, b = session.run([rf.graph.nest.flatten(a), rf.graph.nest.flatten(b)], feeds)
    assert len(a) == len(b)
    for x, y in zip(a, b):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", CELL)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_loop_equals_unrolled(session, kind, lengths):
    x = rf.placeholder(rf.float64, [None, None, 5])
    cell = CELL[kind]()
    outputs, state = rf.nn.dynamic_rnn(cell, x, dtype=rf.float64, sequence_length=lengths)
    with rf.variable_scope(rf.get_variable_scope(), reuse=True):
        steps, final = rf.nn.static_rnn(cell, rf.unstack(rf.constant(DATA), axis=1), dtype=rf.float64,
                                        sequence_length=lengths)
    assert outputs.shape.as_list() == [None, None, cell.output_size]
    assert len(rf.trainable_variables()) == len(cell.variables)
    close(session, [outputs, state], [rf.stack(steps, 1), final], {x: DATA})


@pytest.mark.parametrize("kind", CELL)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_gradients_of_the_loop_equal_those_of_the_unrolled_network(session, kind, lengths):
    x = rf.constant(DATA)
    cell = CELL[kind]()
    outputs, state = rf.nn.dynamic_rnn(cell, x, dtype=rf.float64, sequence_length=lengths)
    with rf.variable_scope(rf.get_variable_scope(), reuse=True):
        steps, final = rf.nn.static_rnn(cell, rf.unstack(x, axis=1), dtype=rf.float64, sequence_length=lengths)
    weights = np.random.default_rng(1).standard_normal((3, 4, cell.output_size))

    def gradients(y, last):
        loss = rf.reduce_sum(y * weights) + rf.add_n([rf.reduce_sum(rf.square(s)) for s in rf.graph.nest.flatten(last)])
        return rf.gradients(loss, [x, *rf.trainable_variables()])

    close(session, gradients(outputs, state), gradients(rf.stack(steps, 1), final))


def test_time_major_inputs_an_initial_state_and_known_shapes(session):
    cell = rf.nn.rnn_cell.GRUCell(2)
    start = rf.constant(np.ones((3, 2)))
    outputs, state = rf.nn.dynamic_rnn(cell, DATA, initial_state=start)
    with rf.variable_scope(rf.get_variable_scope(), reuse=True):
        by_time, same = rf.nn.dynamic_rnn(cell, rf.transpose(rf.constant(DATA), [1, 0, 2]), initial_state=start,
                                          time_major=True)
    assert outputs.shape == [3, 4, 2] and by_time.shape == [4, 3, 2]
    close(session, [rf.transpose(outputs, [1, 0, 2]), state], [by_time, same])


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_both_directions_equal_unrolled_ones(session, lengths):
    cells = [rf.nn.rnn_cell.GRUCell(2), rf.nn.rnn_cell.BasicRNNCell(3)]
    outputs, states = rf.nn.bidirectional_dynamic_rnn(*cells, rf.constant(DATA), dtype=rf.float64,
                                                      sequence_length=lengths)
    assert sorted({v.op.name.rsplit("/", 2)[0] for v in rf.trainable_variables()}) == [
        "bidirectional_rnn/bw", "bidirectional_rnn/fw/gru_cell"]
    with rf.variable_scope(rf.get_variable_scope(), reuse=True):
        steps, forward, backward = rf.nn.static_bidirectional_rnn(
            *cells, rf.unstack(rf.constant(DATA), axis=1), dtype=rf.float64, sequence_length=lengths)
    close(session, [rf.concat(outputs, 2), *states], [rf.stack(steps, 1), forward, backward])


def test_raw_rnn_gives_what_dynamic_rnn_gives(session):
    cell = rf.nn.rnn_cell.BasicLSTMCell(3)
    by_time = rf.TensorArray(rf.float64, size=4, clear_after_read=False).unstack(DATA.transpose(1, 0, 2))

    def steer(time, output, state, loop_state):
        state = cell.zero_state(3, rf.float64) if output is None else state
        finished = rf.greater_equal(time, LENGTHS)
        x = rf.cond(rf.reduce_all(finished), lambda: rf.zeros([3, 5], rf.float64), lambda: by_time.read(time))
        x.set_shape([3, 5])
        return finished, x, state, output, None

    arrays, state, _ = rf.nn.raw_rnn(cell, steer)
    with rf.variable_scope(rf.get_variable_scope(), reuse=True):
        outputs, final = rf.nn.dynamic_rnn(cell, rf.constant(DATA), dtype=rf.float64, sequence_length=LENGTHS)
    close(session, [rf.transpose(arrays.stack(), [1, 0, 2]), state], [outputs, final])


def test_inputs_without_time_are_refused(session):
    with pytest.raises(InvalidArgumentError, match="batch and a time dimension"):
        rf.nn.dynamic_rnn(rf.nn.rnn_cell.GRUCell(2), rf.zeros([3]), dtype=rf.float32)


def test_as_many_lengths_as_rows_are_needed(session):
    with pytest.raises(InvalidArgumentError, match=r"it has shape \(3,\), the batch \(2,\)"):
        rf.nn.dynamic_rnn(rf.nn.rnn_cell.GRUCell(2), rf.zeros([2, 3, 4]), sequence_length=[1, 2, 3], dtype=rf.float32)
