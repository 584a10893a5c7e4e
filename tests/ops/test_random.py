"""Seeds of random ops: how they are chosen, and what they make repeatable."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.ops import api, random

pytestmark = pytest.mark.usefixtures("graph")


def run(fetches, backend="reference"):
    with rf.Session(backend=backend) as session:
        return [session.run(fetches) for _ in range(2)]


def test_seeds_combine_as_in_tensorflow(graph):
    assert random.get_seed(None) == (0, 0)
    assert random.get_seed(5) == (87654321, 5)
    random.set_random_seed(3)
    assert random.get_seed(5) == (3, 5)
    rf.constant(1)
    assert random.get_seed(None) == (3, len(graph.get_operations()))
    random.set_random_seed(0)
    assert random.get_seed(0) == (0, 2**31 - 1)


def test_a_seeded_op_repeats_its_sequence_in_a_new_session():
    x = api.random_uniform([100], seed=1)
    first, second = run(x)
    again = run(x)
    np.testing.assert_array_equal(first, again[0])
    np.testing.assert_array_equal(second, again[1])
    assert not np.array_equal(first, second)


def test_without_seeds_sessions_differ():
    x = api.random_normal([100])
    assert not np.array_equal(run(x)[0], run(x)[0])


def test_two_ops_with_a_graph_seed_differ():
    random.set_random_seed(1)
    a, b = api.random_uniform([100]), api.random_uniform([100])
    (x, y), _ = run([a, b])
    assert not np.array_equal(x, y)


def test_ranges_means_and_deviations():
    random.set_random_seed(1)
    n = 20000
    (u, i, z, t), _ = run([api.random_uniform([n], 2.0, 6.0), api.random_uniform([n], -3, 4, dtype=rf.int64),
                           api.random_normal([n], 5.0, 2.0), api.truncated_normal([n], 1.0, 0.5)])
    assert u.min() >= 2 and u.max() < 6 and abs(u.mean() - 4) < 0.05
    assert sorted(set(i)) == list(range(-3, 4)) and i.dtype == np.int64
    assert abs(z.mean() - 5) < 0.08 and abs(z.std() - 2) < 0.05
    assert abs(t - 1).max() <= 1 and abs(t.std() - 0.5 * 0.8796) < 0.01


def test_shuffle_keeps_the_rows():
    rows = np.arange(60).reshape(20, 3)
    (shuffled,), _ = run([api.random_shuffle(rows, seed=1)])
    assert not np.array_equal(shuffled, rows)
    np.testing.assert_array_equal(shuffled[np.argsort(shuffled[:, 0])], rows)


def test_multinomial_draws_by_softmax():
    (drawn,), _ = run([api.multinomial(np.log([[0.2, 0.3, 0.5]]).astype(np.float32), 20000, seed=1)])
    np.testing.assert_allclose(np.bincount(drawn[0]) / 20000, [0.2, 0.3, 0.5], atol=0.015)


def test_integers_need_a_maximum():
    with pytest.raises(rf.errors.InvalidArgumentError, match="maxval"):
        api.random_uniform([2], dtype=rf.int32)
