"""Variables and get_variable: values, names, sharing, errors."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError

pytestmark = pytest.mark.usefixtures("session")


def test_initial_values_from_arrays_tensors_and_functions(session):
    a = rf.Variable([1.0, 2.0], name="a")
    b = rf.Variable(lambda: rf.ones([2]) * 3.0, name="b")
    c = rf.Variable(a.initialized_value() * 2.0, name="c")
    session.run(rf.global_variables_initializer())
    np.testing.assert_array_equal(session.run(a + b + c), [6, 9])
    assert a.name == "a:0" and a.op.type == "VariableV2" and a.initializer.name == "a/Assign"


def test_assign_checks_shape_and_add_and_sub_update(session):
    v = rf.Variable(np.zeros(3, np.float32))
    session.run(v.initializer)
    with pytest.raises(InvalidArgumentError, match=r"\(3,\).*\(2,\)|\(2,\).*\(3,\)"):
        session.run(v.assign([1.0, 2.0]))
    session.run(v.assign([1.0, 2.0, 3.0]))
    session.run(v.assign_add([1.0, 1.0, 1.0]))
    session.run(v.assign_sub([0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(session.run(v), [2, 2, 4])


def test_missing_or_shapeless_initial_value_is_an_error():
    with pytest.raises(InvalidArgumentError, match="initial_value is missing"):
        rf.Variable()
    with pytest.raises(InvalidArgumentError, match="known shape"):
        rf.Variable(rf.placeholder(rf.float32, [None]))


def test_get_variable_shares_by_name_within_scopes():
    with rf.variable_scope("layer"):
        w = rf.get_variable("w", [2, 3])
    with rf.variable_scope("layer", reuse=True):
        assert rf.get_variable("w", [2, 3]) is w
        with pytest.raises(NotFoundError, match="layer/b"):
            rf.get_variable("b", [3])
        with pytest.raises(InvalidArgumentError, match="shape"):
            rf.get_variable("w", [2, 4])
    with rf.variable_scope("layer"), pytest.raises(AlreadyExistsError, match="layer/w.*test_variables.py"):
        rf.get_variable("w", [2, 3])
    with rf.variable_scope("layer", reuse=rf.AUTO_REUSE):
        assert rf.get_variable("w", [2, 3]) is w
        rf.get_variable("b", [3], initializer=rf.zeros_initializer())
    assert [v.op.name for v in rf.trainable_variables()] == ["layer/w", "layer/b"]


def test_reuse_is_inherited_by_scopes_inside_and_can_be_switched_on():
    with rf.variable_scope("model") as model:
        with rf.variable_scope("inner"):
            w = rf.get_variable("w", [2])
        model.reuse_variables()
        with rf.variable_scope("inner", reuse=None):
            assert rf.get_variable("w") is w
    with rf.variable_scope(model, reuse=True), rf.variable_scope("inner"):
        assert rf.get_variable("w", [2]) is w
    with pytest.raises(AlreadyExistsError), rf.variable_scope("model/inner", reuse=None):
        rf.get_variable("w", [2])


def test_default_scope_names_are_numbered_and_start_again_when_the_outer_scope_is_entered_again():
    def layer():
        with rf.variable_scope(None, default_name="dense"):
            return rf.get_variable("w", [2])

    with rf.variable_scope("net"):
        first, second = layer(), layer()
    assert [first.op.name, second.op.name] == ["net/dense/w", "net/dense_1/w"]
    with rf.variable_scope("net", reuse=True):
        assert [layer(), layer()] == [first, second]
    with pytest.raises(InvalidArgumentError, match="default_name"), rf.variable_scope(None):
        pass


def test_scopes_give_defaults_for_variables(session):
    with rf.variable_scope("s", initializer=rf.constant_initializer(3.0), dtype=rf.float64,
                           regularizer=lambda w: 0.5 * rf.reduce_sum(w)) as scope, rf.variable_scope("t"):
        v = rf.get_variable("v", [2])
    with rf.variable_scope("elsewhere"):
        rf.get_variable("v", [2])
    session.run(v.initializer)
    assert v.dtype == rf.float64 and session.run(v).tolist() == [3, 3]
    assert scope.trainable_variables() == [v] == scope.global_variables()
    assert session.run(rf.get_collection(rf.GraphKeys.REGULARIZATION_LOSSES)) == [3.0]


def test_get_variable_takes_dtype_and_shape_from_an_initial_value():
    assert rf.get_variable("a", initializer=np.arange(3)).dtype == rf.int64
    assert rf.get_variable("b", initializer=[1.5, 2.5]).dtype == rf.float32
    with pytest.raises(InvalidArgumentError, match="initial value has shape"):
        rf.get_variable("c", [4], initializer=np.zeros(3, np.float32))


def test_variables_behave_as_tensors_in_expressions(session):
    v = rf.Variable([1.0, 4.0])
    session.run(v.initializer)
    np.testing.assert_array_equal(session.run(10.0 - rf.sqrt(v) * v[1]), [6, 2])
    np.testing.assert_array_equal(session.run(v > 2.0), [False, True])


def test_values_survive_and_reset_forgets(session):
    v = rf.Variable(2.0)
    session.run(v.initializer)
    session.run(v.assign_add(1.0))
    assert session.run(v) == 3.0
    session.clear()
    with pytest.raises(rf.errors.FailedPreconditionError):
        session.run(v)
