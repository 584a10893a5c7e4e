"""rf.TensorArray, as users write it, outside of loops."""
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.nest import assert_same_structure, flatten, map_structure, pack_sequence_as
from ringflow.graph.session import BACKENDS

pytestmark = pytest.mark.parametrize("backend", sorted(BACKENDS))


def run(backend, *fetches):
    with rf.Session(backend=backend) as session:
        return [v.tolist() for v in session.run(list(fetches))]


def test_write_read_stack_and_size(backend):
    ta = rf.TensorArray(rf.int32, size=3, clear_after_read=False)
    for i in range(3):
        ta = ta.write(i, [i, i * i])
    stacked = ta.stack()
    assert stacked.shape == [3, 2] and ta.read(2).shape == [2]
    assert run(backend, ta.read(2), stacked, ta.size(), ta.identity().read(0)) == [[2, 4], [[0, 0], [1, 1], [2, 4]], 3,
                                                                                  [0, 0]]


def test_dynamic_array_grows_and_its_size_is_asked_at_run_time(backend):
    ta = rf.TensorArray(rf.float32, dynamic_size=True)
    for i in range(5):
        ta = ta.write(i, rf.fill([2], float(i)))
    assert run(backend, ta.size(), ta.stack()) == [5, [[i, i] for i in range(5)]]


def test_unstack_gather_scatter(backend):
    rows = rf.TensorArray(rf.float32, size=3).unstack([[1., 2.], [3., 4.], [5., 6.]])
    reversed_rows = rf.TensorArray(rf.float32, size=3).scatter([2, 1, 0], rows.gather([0, 1, 2]))
    assert run(backend, reversed_rows.stack()) == [[[5, 6], [3, 4], [1, 2]]]


def test_split_and_concat_with_elements_of_several_lengths(backend):
    ta = rf.TensorArray(rf.float32, size=3, infer_shape=False).split([1., 2., 3., 4.], [1, 0, 3])
    assert run(backend, ta.concat()) == [[1, 2, 3, 4]]


def test_gradient_through_the_class(backend):
    x = rf.constant([[1., 2.], [3., 4.]])
    ta = rf.TensorArray(rf.float32, size=2).unstack(x)
    total = rf.reduce_sum(ta.read(1) * ta.read(0))
    assert run(backend, rf.gradients(total, x)[0]) == [[[3, 4], [1, 2]]]


def test_grad_adds_up_under_its_source(backend):
    ta = rf.TensorArray(rf.float32, size=1).write(0, [1., 1.])
    grad = ta.grad("mine")
    grad = grad.write(0, [2., 3.]).write(0, [4., 5.])
    assert run(backend, grad.read(0)) == [[6, 8]]


def test_elements_of_another_shape_are_refused_when_built(backend):
    ta = rf.TensorArray(rf.float32, size=2).write(0, [1., 2.])
    with pytest.raises(InvalidArgumentError, match="shapes of elements differ.*infer_shape=False"):
        ta.write(1, [1.])
    with pytest.raises(InvalidArgumentError, match="'size' or 'handle'"):
        rf.TensorArray(rf.float32)


def test_nested_structures_are_taken_apart_and_put_together(backend):
    structure = {"b": (1, [2, 3]), "a": 4}
    assert flatten(structure) == [4, 1, 2, 3]
    assert pack_sequence_as(structure, [0, 1, 2, 3]) == {"b": (1, [2, 3]), "a": 0}
    assert map_structure(lambda x, y: x + y, structure, structure) == {"b": (2, [4, 6]), "a": 8}
    with pytest.raises(InvalidArgumentError, match="structures differ"):
        assert_same_structure(structure, {"b": (1, [2]), "a": 4})
    with pytest.raises(InvalidArgumentError, match="4 leaves: got 1"):
        pack_sequence_as(structure, [1])
