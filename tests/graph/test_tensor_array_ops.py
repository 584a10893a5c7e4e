"""Tensor arrays and stacks in graphs without loops: gradients along the flow, one gradient array a source, errors."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import dtypes
from ringflow.graph.errors import InvalidArgumentError, UnimplementedError
from ringflow.graph.opdef import OPS
from ringflow.graph.session import BACKENDS, Session

pytestmark = pytest.mark.parametrize("backend", sorted(BACKENDS))


def op(name, *inputs, **attrs):
    return OPS[name](*inputs, **attrs)


def array(size, **attrs):
    return op("TensorArrayV3", size, dtype=attrs.pop("dtype", dtypes.float64), **attrs)


def run(backend, fetches, feeds=None):
    with Session(backend=backend) as session:
        return session.run(fetches, feeds)


def test_gradients_add_up_over_reads_and_a_gather_of_one_array(backend):
    x = rf.placeholder(dtypes.float64, [3, 2])
    handle, flow = array(3, clear_after_read=False)
    flow = op("TensorArrayScatterV3", handle, np.arange(3, dtype=np.int32), x, flow)
    one = op("TensorArrayReadV3", handle, 1, flow, dtype=dtypes.float64)
    again = op("TensorArrayReadV3", handle, 1, flow, dtype=dtypes.float64)
    two = op("TensorArrayGatherV3", handle, np.array([2, 1], np.int32), flow, dtype=dtypes.float64)
    y = rf.reduce_sum(one * again) + rf.reduce_sum(two * np.array([[3.], [5.]]))
    value = np.random.default_rng(0).standard_normal((3, 2))
    grad = run(backend, rf.gradients(y, x)[0], {x: value})
    np.testing.assert_allclose(grad, [[0, 0], 2 * value[1] + 5, [3, 3]])  # index 0 was never read: zeros


def test_gradient_through_writes_and_concat_keeps_lengths(backend):
    a, b = rf.placeholder(dtypes.float64, [None, 2]), rf.placeholder(dtypes.float64, [None, 2])
    handle, flow = array(2)
    flow = op("TensorArrayWriteV3", handle, 0, a, flow)
    flow = op("TensorArrayWriteV3", handle, 1, b, flow)
    joined, lengths = op("TensorArrayConcatV3", handle, flow, dtype=dtypes.float64)
    weights = np.arange(6.).reshape(3, 2)
    grads = rf.gradients(joined * weights, [a, b])
    got = run(backend, [lengths, *grads], {a: np.ones((1, 2)), b: np.ones((2, 2))})
    assert got[0].tolist() == [1, 2]
    np.testing.assert_array_equal(got[1], weights[:1])
    np.testing.assert_array_equal(got[2], weights[1:])


def test_gradient_through_split(backend):
    x = rf.placeholder(dtypes.float64, [4])
    handle, flow = array(2)
    flow = op("TensorArraySplitV3", handle, x, np.array([1, 3]), flow)
    second = op("TensorArrayReadV3", handle, 1, flow, dtype=dtypes.float64)
    grad = rf.gradients(second * second, x)[0]
    np.testing.assert_array_equal(run(backend, grad, {x: np.arange(4.)}), [0, 2, 4, 6])


def test_two_calls_of_gradients_use_two_gradient_arrays(backend):
    x = rf.placeholder(dtypes.float64, [2])
    handle, flow = array(1, clear_after_read=False)
    flow = op("TensorArrayWriteV3", handle, 0, x, flow)
    value = op("TensorArrayReadV3", handle, 0, flow, dtype=dtypes.float64)
    first, second = rf.gradients(3 * value, x)[0], rf.gradients(5 * value, x, name="other")[0]
    got = run(backend, [first, second], {x: np.zeros(2)})
    assert [g.tolist() for g in got] == [[3, 3], [5, 5]]


def test_second_derivative_goes_through_the_gradient_array(backend):
    x = rf.placeholder(dtypes.float64, [2])
    handle, flow = array(1)
    flow = op("TensorArrayWriteV3", handle, 0, x, flow)
    value = op("TensorArrayReadV3", handle, 0, flow, dtype=dtypes.float64)
    first = rf.gradients(value ** 3., x)[0]
    np.testing.assert_allclose(run(backend, rf.gradients(first, x)[0], {x: np.array([1., 2.])}), [6, 12])


def test_every_run_starts_with_empty_arrays_and_stacks(backend):
    x = rf.placeholder(dtypes.float32, [])
    handle, flow = array(1, dtype=dtypes.float32)
    flow = op("TensorArrayWriteV3", handle, 0, x, flow)
    read = op("TensorArrayReadV3", handle, 0, flow, dtype=dtypes.float32)
    stack = op("StackV2", 1, elem_type=dtypes.float32)
    pushed = op("StackPushV2", stack, read)
    with rf.control_dependencies([pushed]):
        popped = op("StackPopV2", stack, elem_type=dtypes.float32)
    with Session(backend=backend) as session:
        for v in (1., 2., 3.):
            assert session.run([read, popped], {x: v}) == [v, v]


def test_array_keeps_its_values_while_their_source_changes(backend):
    v = rf.Variable(np.zeros(4, np.float32))
    handle, flow = array(1, dtype=dtypes.float32)
    written = op("TensorArrayWriteV3", handle, 0, v, flow)
    with rf.control_dependencies([written]):
        changed = v.assign_add(np.ones(4, np.float32))
    with rf.control_dependencies([changed]):
        read = op("TensorArrayReadV3", handle, 0, rf.identity(written), dtype=dtypes.float32)
    with Session(backend=backend) as session:
        session.run(rf.global_variables_initializer())
        assert session.run([read, changed])[0].tolist() == [0] * 4
        assert session.run([read, changed])[0].tolist() == [1] * 4


def test_strings_are_kept_and_joined(backend):
    handle, flow = array(2, dtype=dtypes.string)
    words = np.array([[b"a"], [b"long" * 20]], object)
    flow = op("TensorArrayScatterV3", handle, np.array([1, 0], np.int32), words, flow)
    gathered = op("TensorArrayGatherV3", handle, np.array([0, 1], np.int32), flow, dtype=dtypes.string)
    assert run(backend, gathered).tolist() == [[b"long" * 20], [b"a"]]


def test_reading_twice_says_how_to_keep_elements(backend):
    handle, flow = array(1)
    flow = op("TensorArrayWriteV3", handle, 0, np.ones(2), flow)
    first = op("TensorArrayReadV3", handle, 0, flow, dtype=dtypes.float64)
    with rf.control_dependencies([first]):
        second = op("TensorArrayReadV3", handle, 0, flow, dtype=dtypes.float64)
    with pytest.raises(InvalidArgumentError, match="cannot be read twice at index 0.*clear_after_read=False"):
        run(backend, second)


def test_writing_twice_is_refused(backend):
    handle, flow = array(1, tensor_array_name="steps")
    flow = op("TensorArrayWriteV3", handle, 0, np.ones(2), flow)
    flow = op("TensorArrayWriteV3", handle, 0, np.ones(2), flow)
    with pytest.raises(InvalidArgumentError, match="array 'steps' cannot be written at index 0: it has already been"):
        run(backend, flow)


def test_gathering_nothing_needs_a_shape(backend):
    handle, flow = array(0)
    nothing = op("TensorArrayGatherV3", handle, np.zeros(0, np.int32), flow, dtype=dtypes.float64)
    with pytest.raises(UnimplementedError, match="shape of no elements"):
        run(backend, nothing)


def test_gradient_of_added_up_gradients_is_refused(backend):
    x = rf.placeholder(dtypes.float64, [2])
    handle, flow = array(1, clear_after_read=False)
    flow = op("TensorArrayWriteV3", handle, 0, x, flow)
    one, two = (op("TensorArrayReadV3", handle, 0, flow, dtype=dtypes.float64) for _ in range(2))
    second = rf.gradients(rf.gradients(one * two, x)[0], x)[0]
    with pytest.raises(InvalidArgumentError, match="values were added up"):
        run(backend, second, {x: np.ones(2)})


def test_a_handle_of_another_kind_is_refused(backend):
    stack = op("StackV2", 1, elem_type=dtypes.float32)
    with pytest.raises(InvalidArgumentError, match="TensorArraySizeV3"):
        run(backend, op("TensorArraySizeV3", stack, np.float32(0)))
