"""Cells against their formulas in NumPy, and networks unrolled from them."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("session")

LENGTHS = [4, 1, 3]
DATA = np.random.default_rng(3).standard_normal((3, 4, 5))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def basic_rnn(v, x, s):
    h = np.tanh(np.hstack([x, s]) @ v["kernel"] + v["bias"])
    return h, h


def gru(v, x, s):
    r, u = np.split(sigmoid(np.hstack([x, s]) @ v["gates/kernel"] + v["gates/bias"]), 2, 1)
    h = u * s + (1 - u) * np.tanh(np.hstack([x, r * s]) @ v["candidate/kernel"] + v["candidate/bias"])
    return h, h


def lstm(v, x, s, clip=np.inf):
    c, h = s
    i, j, f, o = np.split(np.hstack([x, h]) @ v["kernel"] + v["bias"], 4, 1)
    peep = {g: v.get(f"w_{g}_diag", 0) for g in "fio"}
    new = np.clip(sigmoid(f + 1 + peep["f"] * c) * c + sigmoid(i + peep["i"] * c) * np.tanh(j), -clip, clip)
    h = sigmoid(o + peep["o"] * new) * np.tanh(new)
    h = h @ v["projection/kernel"] if "projection/kernel" in v else h
    return h, (new, h)


CELLS = {
    "basic_rnn_cell": (lambda: rf.nn.rnn_cell.BasicRNNCell(6), basic_rnn, 6, False),
    "gru_cell": (lambda: rf.nn.rnn_cell.GRUCell(6), gru, 6, False),
    "basic_lstm_cell": (lambda: rf.nn.rnn_cell.BasicLSTMCell(6), lstm, 6, True),
    "lstm_cell": (lambda: rf.nn.rnn_cell.LSTMCell(6, use_peepholes=True, num_proj=3, cell_clip=0.3),
                  lambda v, x, s: lstm(v, x, s, clip=0.3), 3, True),
}


def values_below(session, scope):
    return {v.op.name[len(scope) + 1:]: session.run(v) for v in rf.trainable_variables(f"{scope}/")}


def randomise(session):
    rng = np.random.default_rng(1)
    for v in rf.trainable_variables():
        v.load(rng.standard_normal(v.shape.known), session)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_unrolled_cell_equals_its_formula(session, name, lengths):
    make, formula, size, is_tuple = CELLS[name]
    outputs, state = rf.nn.static_rnn(make(), rf.unstack(rf.constant(DATA, rf.float64), axis=1), dtype=rf.float64,
                                      sequence_length=lengths)
    session.run(rf.global_variables_initializer())
    randomise(session)
    v = values_below(session, f"rnn/{name}")
    expected_state = (np.zeros((3, 6)), np.zeros((3, size))) if is_tuple else np.zeros((3, 6))
    expected = []
    for t in range(4):
        out, new = formula(v, DATA[:, t], expected_state)
        live = np.array([t < n for n in lengths or [4] * 3])[:, None]
        expected.append(np.where(live, out, 0))
        expected_state = (tuple(np.where(live, a, b) for a, b in zip(new, expected_state)) if is_tuple
                          else np.where(live, new, expected_state))
    got_outputs, got_state = session.run([outputs, state])
    np.testing.assert_allclose(got_outputs, expected, rtol=1e-12, atol=1e-13)
    for got, wanted in zip(got_state, expected_state):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)


def test_variables_have_tensorflows_names_and_initial_values(session):
    cell = rf.nn.rnn_cell.MultiRNNCell([rf.nn.rnn_cell.BasicLSTMCell(2), rf.nn.rnn_cell.GRUCell(3)])
    rf.nn.static_rnn(cell, [rf.ones([1, 5])] * 2, dtype=rf.float32)
    assert {v.op.name: v.shape.as_list() for v in rf.trainable_variables()} == {
        "rnn/multi_rnn_cell/cell_0/basic_lstm_cell/kernel": [7, 8],
        "rnn/multi_rnn_cell/cell_0/basic_lstm_cell/bias": [8],
        "rnn/multi_rnn_cell/cell_1/gru_cell/gates/kernel": [5, 6],
        "rnn/multi_rnn_cell/cell_1/gru_cell/gates/bias": [6],
        "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/kernel": [5, 3],
        "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/bias": [3]}
    session.run(rf.global_variables_initializer())
    assert session.run(cell.variables[3]).tolist() == [1] * 6 and len(cell.variables) == 6


def test_a_cell_keeps_its_variables_and_two_cells_have_their_own():
    cell = rf.nn.rnn_cell.BasicRNNCell(2)
    state = cell.zero_state(1, rf.float32)
    _, state = cell(rf.ones([1, 2]), state)
    cell(rf.ones([1, 2]), state)
    rf.nn.rnn_cell.BasicRNNCell(2)(rf.ones([1, 2]), state)
    assert [v.op.name for v in rf.trainable_variables()] == [
        "basic_rnn_cell/kernel", "basic_rnn_cell/bias", "basic_rnn_cell_1/kernel", "basic_rnn_cell_1/bias"]


def test_joined_lstm_state_gives_the_same_outputs(session):
    x = [rf.constant(DATA[:, t]) for t in range(2)]
    kinds = [rf.nn.rnn_cell.BasicLSTMCell(3), rf.nn.rnn_cell.BasicLSTMCell(3, state_is_tuple=False)]
    with rf.variable_scope("net", initializer=rf.constant_initializer(0.1)):
        results = [rf.nn.static_rnn(cell, x, dtype=rf.float64, scope=f"rnn_{i}") for i, cell in enumerate(kinds)]
    session.run(rf.global_variables_initializer())
    (a, (c, h)), (b, joined) = session.run(results)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.hstack([c, h]), joined)


def test_bidirectional_outputs_are_those_of_both_directions(session):
    x = rf.unstack(rf.constant(DATA, rf.float64), axis=1)
    cells = [rf.nn.rnn_cell.GRUCell(2), rf.nn.rnn_cell.BasicRNNCell(3)]
    outputs, forward, backward = rf.nn.static_bidirectional_rnn(*cells, x, dtype=rf.float64, sequence_length=LENGTHS)
    session.run(rf.global_variables_initializer())
    got, got_forward, got_backward = session.run([outputs, forward, backward])
    v = values_below(session, "bidirectional_rnn/bw/basic_rnn_cell")
    for row, n in enumerate(LENGTHS):
        state = np.zeros((1, 3))
        for t in reversed(range(n)):
            _, state = basic_rnn(v, DATA[row:row + 1, t], state)
            np.testing.assert_allclose(got[t][row, 2:], state[0], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(got_backward[row], state[0], rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(got[n - 1][row, :2], got_forward[row])


def test_dropout_and_residual_wrappers(session):
    inner = rf.nn.rnn_cell.BasicRNNCell(4)
    x, state = rf.ones([50, 4]), inner.zero_state(50, rf.float32)
    dropped, new = rf.nn.rnn_cell.DropoutWrapper(inner, output_keep_prob=0.5, seed=1)(x, state)
    plain, _ = inner(x, state)
    residual, _ = rf.nn.rnn_cell.ResidualWrapper(inner)(x, state)
    session.run(rf.global_variables_initializer())
    dropped, new, plain, residual = session.run([dropped, new, plain, residual])
    kept = dropped != 0
    assert 0.35 < kept.mean() < 0.65
    np.testing.assert_allclose(dropped[kept], 2 * plain[kept], rtol=1e-6)
    np.testing.assert_array_equal(new, plain)
    np.testing.assert_allclose(residual, plain + 1, rtol=1e-6)


def test_what_is_missing_is_said():
    cell = rf.nn.rnn_cell.BasicRNNCell(2)
    with pytest.raises(InvalidArgumentError, match="'initial_state' or 'dtype'"):
        rf.nn.static_rnn(cell, [rf.ones([1, 2])])
    with pytest.raises(InvalidArgumentError, match="inputs are empty"):
        rf.nn.static_rnn(cell, [], dtype=rf.float32)
    with pytest.raises(InvalidArgumentError, match="known depth"):
        cell(rf.placeholder(rf.float32, [None, None]), rf.ones([1, 2]))
    with pytest.raises(InvalidArgumentError, match="at least one cell"):
        rf.nn.rnn_cell.MultiRNNCell([])


def test_contrib_names_what_scripts_look_for_there(session):
    from ringflow.contrib import rnn

    assert rnn.BasicLSTMCell is rf.nn.rnn_cell.BasicLSTMCell and rf.contrib.rnn.static_rnn is rf.nn.static_rnn
    w = rf.get_variable("w", [400, 200], initializer=rf.contrib.layers.xavier_initializer(seed=1),
                        regularizer=rf.contrib.layers.l2_regularizer(0.1))
    session.run(w.initializer)
    value, loss = session.run([w, rf.losses.get_regularization_losses()[0]])
    assert 0.09 < np.abs(value).max() <= 0.1  # sqrt(6 / 600)
    np.testing.assert_allclose(loss, 0.05 * (value ** 2).sum(), rtol=1e-5)


def test_static_rnn_of_one_tensor_says_to_unstack_it():
    with pytest.raises(InvalidArgumentError, match=r"must be a list.*rf.unstack\(inputs, axis=1\)"):
        rf.nn.static_rnn(rf.nn.rnn_cell.BasicRNNCell(4), rf.placeholder(rf.float32, [None, 5, 3]), dtype=rf.float32)
