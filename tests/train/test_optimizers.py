"""Optimizers: their formulas against NumPy, dense against sparse, slots, names, settings and errors."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import FailedPreconditionError, InvalidArgumentError
from ringflow.graph.session import BACKENDS

pytestmark = pytest.mark.usefixtures("graph")

RATE = 0.1


def session(backend=None):
    return rf.Session(graph=rf.get_default_graph(), backend=backend)


# ---- the formulas, written here a second time: (w, gradient, state) -> w
def sgd(w, g, s):
    return w - RATE * g


def momentum(w, g, s):
    s["a"] = 0.9 * s.get("a", 0) + g
    return w - RATE * s["a"]


def nesterov(w, g, s):
    s["a"] = 0.9 * s.get("a", 0) + g
    return w - RATE * (g + 0.9 * s["a"])


def adam(w, g, s):
    t = s["t"] = s.get("t", 0) + 1
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    return w - RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * s["m"] / (np.sqrt(s["v"]) + 1e-8)


def adagrad(w, g, s):
    s["a"] = s.get("a", 0.1) + g * g
    return w - RATE * g / np.sqrt(s["a"])


def rmsprop(w, g, s):
    s["ms"] = 0.9 * s.get("ms", 1.0) + 0.1 * g * g
    s["mom"] = 0.5 * s.get("mom", 0) + RATE * g / np.sqrt(s["ms"] + 1e-10)
    return w - s["mom"]


def adadelta(w, g, s):
    s["a"] = 0.9 * s.get("a", 0) + 0.1 * g * g
    u = np.sqrt(s.get("d", 0) + 1e-3) / np.sqrt(s["a"] + 1e-3) * g
    s["d"] = 0.9 * s.get("d", 0) + 0.1 * u * u
    return w - RATE * u


def ftrl(w, g, s):
    a = s.get("a", 0.1)
    s["a"] = a + g * g
    s["z"] = s.get("z", 0) + g - (np.sqrt(s["a"]) - np.sqrt(a)) / RATE * w
    z = s["z"]
    return np.where(np.abs(z) > 0.2, (np.sign(z) * 0.2 - z) / (np.sqrt(s["a"]) / RATE + 2 * 0.1), 0.0)


OPTIMIZERS = {
    "adadelta": (lambda lr: rf.train.AdadeltaOptimizer(lr, 0.9, 1e-3), adadelta),
    "ftrl": (lambda lr: rf.train.FtrlOptimizer(lr, l1_regularization_strength=0.2, l2_regularization_strength=0.1),
             ftrl),
    "sgd": (lambda lr: rf.train.GradientDescentOptimizer(lr), sgd),
    "momentum": (lambda lr: rf.train.MomentumOptimizer(lr, 0.9), momentum),
    "nesterov": (lambda lr: rf.train.MomentumOptimizer(lr, 0.9, use_nesterov=True), nesterov),
    "adam": (lambda lr: rf.train.AdamOptimizer(lr), adam),
    "adagrad": (lambda lr: rf.train.AdagradOptimizer(lr), adagrad),
    "rmsprop": (lambda lr: rf.train.RMSPropOptimizer(lr, momentum=0.5), rmsprop),
}


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_dense_updates_follow_the_formula(name, dtype, backend):
    make, formula = OPTIMIZERS[name]
    start = np.array([[1.0, -2.0], [0.5, 3.0]], dtype)
    w = rf.Variable(start, name="w")
    g = rf.placeholder(dtype, [2, 2])
    train_op = make(RATE).minimize(rf.reduce_sum(w * g))
    expected, state = start.astype(np.float64), {}
    with session(backend) as s:
        s.run(rf.global_variables_initializer())
        for k in range(5):
            grad = np.random.default_rng(k).standard_normal((2, 2))
            s.run(train_op, {g: grad.astype(dtype)})
            expected = formula(expected, grad, state)
        np.testing.assert_allclose(s.run(w), expected, rtol=2e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sparse_update_with_repeated_rows_equals_the_formula_on_touched_rows(name, backend):
    make, formula = OPTIMIZERS[name]
    start = np.arange(12, dtype=np.float64).reshape(6, 2)
    w = rf.Variable(start, name="w")
    rows = rf.placeholder(rf.int32, [4])
    weight = rf.placeholder(rf.float64, [4, 2])
    train_op = make(RATE).minimize(rf.reduce_sum(rf.gather(w, rows) * weight))
    assert "UnsortedSegmentSum" not in {o.type for o in rf.get_default_graph().get_operations()} or name != "sgd"
    expected = start.copy()
    states = {} if name == "adam" else {r: {} for r in range(6)}
    with session(backend) as s:
        s.run(rf.global_variables_initializer())
        for index in ([0, 3, 3, 5], [3, 1, 0, 3]):
            values = np.random.default_rng(index[1]).standard_normal((4, 2))
            s.run(train_op, {rows: index, weight: values})
            dense = np.zeros((6, 2))
            np.add.at(dense, index, values)
            if name == "adam":  # moments of all rows decay
                expected = formula(expected, dense, states)
            else:
                for r in set(index):
                    expected[r] = formula(expected[r], dense[r], states[r])
        np.testing.assert_allclose(s.run(w), expected, rtol=1e-12)


def test_learning_rate_may_be_a_tensor_a_function_or_a_variable_of_another_dtype():
    rate = rf.placeholder(rf.float32, [])
    held = rf.Variable(np.float64(0.5), trainable=False)
    w = [rf.Variable(np.float32(0)) for _ in range(3)]
    steps = [rf.train.GradientDescentOptimizer(lr).minimize(v * 1.0, var_list=[v])
             for v, lr in zip(w, (rate, lambda: 0.25, held))]
    with session() as s:
        s.run(rf.global_variables_initializer())
        s.run(steps, {rate: 2.0})
        assert s.run(w) == [-2.0, -0.25, -0.5]


def test_slots_are_named_below_their_variable_and_are_not_trainable():
    w = rf.Variable(np.zeros(3, np.float32), name="layer/w")
    adam_optimizer = rf.train.AdamOptimizer()
    adam_optimizer.minimize(rf.reduce_sum(w * w))
    momentum_optimizer = rf.train.MomentumOptimizer(0.1, 0.9)
    momentum_optimizer.minimize(rf.reduce_sum(w * w))
    assert adam_optimizer.get_slot_names() == ["m", "v"]
    assert adam_optimizer.get_slot(w, "m").op.name == "layer/w/Adam"
    assert adam_optimizer.get_slot(w, "v").op.name == "layer/w/Adam_1"
    assert momentum_optimizer.get_slot(w, "momentum").op.name == "layer/w/Momentum"
    assert momentum_optimizer.get_slot(w, "m") is None
    names = [v.op.name for v in adam_optimizer.variables()]
    assert names == ["beta1_power", "beta2_power", "layer/w/Adam", "layer/w/Adam_1"]
    assert rf.trainable_variables() == [w]
    assert set(adam_optimizer.variables()) < set(rf.global_variables())


def test_two_optimizers_of_one_kind_keep_their_own_slots():
    w = rf.Variable(np.zeros(2, np.float32), name="w")
    first, second = (rf.train.MomentumOptimizer(0.1, 0.9) for _ in range(2))
    first.minimize(rf.reduce_sum(w))
    second.minimize(rf.reduce_sum(w))
    assert second.get_slot(w, "momentum").op.name == "w/Momentum_1"


def test_train_op_adds_one_to_the_global_step_after_the_updates():
    step = rf.train.get_or_create_global_step()
    assert rf.train.get_or_create_global_step() is step
    w = rf.Variable(np.float32(1))
    rate = rf.train.exponential_decay(1.0, step, decay_steps=1, decay_rate=0.5)
    train_op = rf.train.GradientDescentOptimizer(rate).minimize(w * 1.0, global_step=step)
    assert train_op.name == "GradientDescent"
    with session() as s:
        s.run(rf.global_variables_initializer())
        for _ in range(3):
            assert s.run(train_op) is None
        assert s.run([step, w]) == [3, 1 - 1 - 0.5 - 0.25]


@pytest.mark.parametrize("make, formula", [
    (lambda s: rf.train.natural_exp_decay(0.5, s, 10, 0.3), lambda k: 0.5 * np.exp(-0.03 * k)),
    (lambda s: rf.train.inverse_time_decay(0.5, s, 10, 0.3, staircase=True), lambda k: 0.5 / (1 + 0.3 * (k // 10))),
    (lambda s: rf.train.polynomial_decay(0.5, s, 10, 0.1, power=2.0),
     lambda k: 0.4 * (1 - min(k, 10) / 10) ** 2 + 0.1),
    (lambda s: rf.train.polynomial_decay(0.5, s, 10, 0.1, cycle=True),
     lambda k: 0.4 * (1 - k / (10 * max(1, -(-k // 10)))) + 0.1),
    (lambda s: rf.train.cosine_decay(0.5, s, 20, alpha=0.1),
     lambda k: 0.5 * (0.9 * 0.5 * (1 + np.cos(np.pi * min(k, 20) / 20)) + 0.1)),
    (lambda s: rf.train.piecewise_constant(s, [5, 15], [1.0, 0.5, 0.1]),
     lambda k: 1.0 if k <= 5 else 0.5 if k <= 15 else 0.1),
], ids=["natural_exp", "inverse_time", "polynomial", "polynomial, cycle", "cosine", "piecewise"])
def test_decays_follow_their_formulas(make, formula):
    step = rf.placeholder(rf.int64, [])
    rate = make(step)
    with session() as s:
        for k in (0, 1, 5, 6, 10, 15, 16, 25):
            np.testing.assert_allclose(s.run(rate, {step: k}), formula(k), rtol=1e-5)


def test_boundaries_that_do_not_ascend_are_refused():
    with pytest.raises(InvalidArgumentError, match="must ascend"):
        rf.train.piecewise_constant(3, [5, 5], [1.0, 0.5, 0.1])


def test_exponential_decay_in_stairs():
    step = rf.placeholder(rf.int64, [])
    rate = rf.train.exponential_decay(0.5, step, decay_steps=10, decay_rate=0.1, staircase=True)
    with session() as s:
        np.testing.assert_allclose([s.run(rate, {step: k}) for k in (0, 9, 10, 25)], [0.5, 0.5, 0.05, 0.005], rtol=1e-6)


def test_gradients_can_be_changed_between_computing_and_applying():
    w, unused = rf.Variable(np.float32(1), name="w"), rf.Variable(np.float32(1), name="unused")
    optimizer = rf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(3.0 * w)
    assert [v for _, v in pairs] == [w, unused] and pairs[1][0] is None
    train_op = optimizer.apply_gradients([(None if g is None else rf.minimum(g, 2.0), v) for g, v in pairs])
    with session() as s:
        s.run(rf.global_variables_initializer())
        s.run(train_op)
        assert s.run([w, unused]) == [-1.0, 1.0]


def test_train_step_is_recorded_with_the_gradients_as_computed():
    w = rf.Variable(np.float32(1), name="w")
    optimizer = rf.train.GradientDescentOptimizer(1.0)
    (g, _), = optimizer.compute_gradients(3.0 * w)
    clipped = rf.minimum(g, 2.0)
    train_op = optimizer.apply_gradients([(clipped, w)])
    record, = rf.get_default_graph().get_collection(rf.GraphKeys.TRAIN_STEPS)
    assert record.train_op is train_op and record.grads_and_vars == [(g, w)] and record.optimizer is optimizer
    assert g.op.id < record.consumers_from <= clipped.op.id
    assert "ApplyGradientDescent" in {o.type for o in record.update_ops} and clipped.op not in record.update_ops


def test_training_before_initialising_names_the_variable():
    w = rf.Variable(np.float32(1), name="weights")
    train_op = rf.train.AdamOptimizer().minimize(w * w)
    with session() as s, pytest.raises(FailedPreconditionError, match="uninitialized value"):
        s.run(train_op)


def _loss():
    return rf.Variable(np.float32(1), name="w") * 2.0


def _sgd():
    return rf.train.GradientDescentOptimizer(0.1)


@pytest.mark.parametrize("call, message", [
    (lambda: _sgd().minimize(None), "loss must be a tensor: got None"),
    (lambda: _sgd().minimize(rf.constant(1.0)), "no variables to optimize"),
    (lambda: _sgd().minimize(rf.stop_gradient(_loss())), "depends on none of w"),
    (lambda: _sgd().minimize(_loss(), var_list=["w"]), "only variables can be optimized"),
    (lambda: _sgd().minimize(_loss(), var_list=[rf.Variable(1)]), "is int32"),
    (lambda: _sgd().apply_gradients([]), "grads_and_vars is empty"),
    (lambda: _sgd().apply_gradients([3]), "must hold \\(gradient, variable\\) pairs"),
    (lambda: _sgd().apply_gradients([(None, rf.Variable(1.0))]), "every gradient is None"),
    (lambda: _sgd().apply_gradients([([1.0, 2.0], rf.Variable(1.0))]), "shapes differ"),
    (lambda: rf.train.GradientDescentOptimizer(None), "learning_rate must be a number"),
    (lambda: rf.train.GradientDescentOptimizer([0.1, 0.2]), "learning_rate must be a scalar"),
    (lambda: rf.train.MomentumOptimizer(0.1, "0.9"), "momentum must be a number"),
    (lambda: rf.train.AdagradOptimizer(0.1, initial_accumulator_value=0.0), "must be positive"),
    (lambda: _sgd().minimize(_loss(), global_step=3), "global_step must be a variable"),
])
def test_wrong_arguments_are_told_at_once(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()


def test_a_variable_with_two_gradients_is_refused():
    w = rf.Variable(np.float32(1), name="w")
    with pytest.raises(InvalidArgumentError, match="variable 'w' has two gradients"):
        rf.train.GradientDescentOptimizer(0.1).apply_gradients([(1.0, w), (2.0, w)])
