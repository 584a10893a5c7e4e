"""Tables of few rows are multiplied before they are looked up: where, where not, and the same numbers."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.passes.products import multiply_before_lookup

from .plans import kinds, nodes, optimised, without

pytestmark = pytest.mark.usefixtures("graph")

ROWS, WIDTH, UNITS, IDS = 5, 3, 4, 24


def lookup(ids=IDS, rows=ROWS):
    table = rf.Variable(np.random.default_rng(1).standard_normal((rows, WIDTH)), name="table")
    weights = rf.Variable(np.random.default_rng(2).standard_normal((WIDTH, UNITS)), name="weights")
    index = rf.placeholder(rf.int32, [ids], name="ids")
    return table, weights, index, rf.matmul(rf.gather(table, index), weights)


def products(fetches, feeds, targets=()):
    """Shapes of the products that are left."""
    return [op.outputs[0].shape.known for op in nodes(optimised(fetches, feeds, targets), "MatMul")]


def trained(fetches, train_op, index, value, backend="cpp"):
    """Fetches of three steps, and all variables then."""
    with rf.Session(backend=backend) as session:
        session.run(rf.global_variables_initializer())
        steps = [session.run([*fetches, train_op], {index: value})[:-1] for _ in range(3)]
        return [*(x for step in steps for x in step), *session.run(rf.global_variables())]


@pytest.mark.parametrize("optimizer", [lambda: rf.train.GradientDescentOptimizer(0.1),
                                       lambda: rf.train.MomentumOptimizer(0.1, 0.9)], ids=["descent", "momentum"])
@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_training_gives_the_same_numbers_and_products_of_the_table(optimizer, backend):
    _, _, index, h = lookup()
    loss = rf.reduce_sum(rf.tanh(h) * rf.constant(np.linspace(-1, 1, IDS * UNITS).reshape(IDS, UNITS)))
    train_op = optimizer().minimize(loss)
    ids = np.random.default_rng(3).integers(0, ROWS, IDS).astype(np.int32)
    ids[ids == 2] = 1  # a row that nobody looks up
    shapes = products([loss], [index], [train_op])
    assert (ROWS, UNITS) in shapes and (IDS, UNITS) not in shapes
    with without(multiply_before_lookup):
        as_written = trained([loss, h], train_op, index, ids, backend)
    for a, b in zip(trained([loss, h], train_op, index, ids, backend), as_written):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_the_update_of_the_table_is_by_its_rows():
    _, _, index, h = lookup()
    train_op = rf.train.GradientDescentOptimizer(0.1).minimize(rf.reduce_sum(h * h))
    assert set(products([h], [index], [train_op])) == {(ROWS, UNITS), (WIDTH, UNITS), (ROWS, WIDTH)}


def test_rows_that_are_looked_up_seldom_are_gathered_first():
    _, _, index, h = lookup(ids=2 * ROWS - 1)
    assert products([h], [index]) == [(2 * ROWS - 1, UNITS)]


def test_a_lookup_that_others_read_too_is_still_there():
    table, weights, index, _ = lookup()
    x = rf.gather(table, index)
    fetches = [rf.matmul(x, weights), rf.reduce_sum(x, 0), rf.matmul(x, x, transpose_a=True)]
    assert (ROWS, UNITS) in products(fetches, [index])
    ids = np.random.default_rng(4).integers(0, ROWS, IDS).astype(np.int32)
    with without(multiply_before_lookup):
        as_written = trained(fetches, rf.no_op(), index, ids)
    for a, b in zip(trained(fetches, rf.no_op(), index, ids), as_written):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_updates_that_come_after_the_lookup_do_not_change_what_it_gave():
    table, weights, index, _ = lookup()
    x = rf.gather(table, index)
    with rf.control_dependencies([x]):
        changed = table.assign_add(np.ones((ROWS, WIDTH)))
    with rf.control_dependencies([changed]):
        g = rf.identity(index)
    late = rf.cast(g, rf.float64)[:, None] * rf.ones([1, UNITS], rf.float64)
    fetches = [rf.matmul(x, late, transpose_a=True), rf.matmul(x, weights)]
    ids = np.random.default_rng(5).integers(0, ROWS, IDS).astype(np.int32)
    with without(multiply_before_lookup):
        as_written = trained(fetches, changed, index, ids)
    for a, b in zip(trained(fetches, changed, index, ids), as_written):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_an_id_out_of_range_is_named_as_before():
    _, _, index, h = lookup()
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        with pytest.raises(rf.errors.InvalidArgumentError, match="7"):
            session.run(h, {index: np.full(IDS, 7, np.int32)})


def test_lookups_inside_a_loop_stay():
    table, weights, index, _ = lookup()
    total = rf.while_loop(lambda i, s: i < 3, lambda i, s: [i + 1, s + rf.matmul(rf.gather(table, index), weights)],
                          [0, rf.zeros([IDS, UNITS], rf.float64)])[1]
    ids = np.random.default_rng(6).integers(0, ROWS, IDS).astype(np.int32)
    with without(multiply_before_lookup):
        as_written = trained([total], rf.no_op(), index, ids)
    np.testing.assert_allclose(trained([total], rf.no_op(), index, ids)[0], as_written[0], rtol=1e-12)


def test_a_lookup_on_the_right_of_a_product_makes_no_copy_of_the_table():
    table, _, index, _ = lookup()
    left = rf.placeholder(rf.float64, [2, IDS], name="left")
    fetches = [rf.matmul(left, rf.gather(table, index))]
    assert "Snapshot" not in kinds(optimised(fetches, [index, left]))
