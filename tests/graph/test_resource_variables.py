"""Variables behind handles do what variables behind references do; reads are snapshots."""
import numpy as np
import pytest
import ringflow as rf

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((16, 3)).astype(np.float32), RNG.standard_normal((16, 2)).astype(np.float32)


def test_assign_methods_return_the_new_value(session):
    v = rf.Variable([1.0, 2.0], use_resource=True, name="v")
    session.run(rf.global_variables_initializer())
    assert v.op.type == "VarHandleOp" and v.shape == (2,) and v.dtype is rf.float32
    np.testing.assert_array_equal(session.run(v.assign_add([1, 1])), [2, 3])
    np.testing.assert_array_equal(session.run(v.assign_sub([0, 1])), [2, 2])
    np.testing.assert_array_equal(session.run(v.assign([5, 6])), [5, 6])
    np.testing.assert_array_equal(session.run(v), [5, 6])


def test_read_before_initialization_is_an_error(session):
    v = rf.Variable([1.0, 2.0], use_resource=True, name="v")
    with pytest.raises(rf.errors.FailedPreconditionError, match="uninitialized"):
        session.run(v)


def test_read_is_a_snapshot_for_those_who_come_after_an_update(session):
    v = rf.Variable([1.0, 2.0], use_resource=True)
    old = v.read_value()
    new = v.assign_add([10, 10])
    with rf.control_dependencies([new]):
        late = rf.identity(old) * 1.0
        fresh = v.read_value()
    session.run(rf.global_variables_initializer())
    got = session.run([old, late, new, fresh])
    for value, expected in zip(got, ([1, 2], [1, 2], [11, 12], [11, 12])):
        np.testing.assert_array_equal(value, expected)


def train(session, use_resource, optimizer, sparse):
    with rf.variable_scope("resource" if use_resource else "reference"):
        w = rf.get_variable("w", initializer=np.ones((3, 2), np.float32), use_resource=use_resource)
        if sparse:
            rows = rf.gather(w, np.array([0, 2, 2], np.int32))
            loss = rf.reduce_mean(rf.square(rows - Y[:3]))
        else:
            loss = rf.reduce_mean(rf.square(rf.matmul(rf.constant(X), w) - Y))
        step = rf.Variable(0, trainable=False, use_resource=use_resource, name="step")
        train_op = optimizer().minimize(loss, global_step=step)
    session.run(rf.global_variables_initializer())
    for _ in range(4):
        session.run(train_op)
    return session.run([w, step])


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", ["GradientDescent", "Momentum", "Adam", "Adagrad", "RMSProp"])
def test_optimizer_gives_the_same_bits_through_handles(session, name, sparse):
    def optimizer():
        make = getattr(rf.train, f"{name}Optimizer")
        return make(0.1, 0.9) if name == "Momentum" else make(0.1)

    (a, steps), (b, also) = (train(session, use, optimizer, sparse) for use in (False, True))
    np.testing.assert_array_equal(a, b)
    assert steps == also == 4 and not np.array_equal(a, np.ones((3, 2)))
