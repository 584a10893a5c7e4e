"""Tables of few rows are multiplied before they are looked up: where, where not, and the same numbers."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import passes
from ringflow.graph.passes import repeated_rows
from ringflow.graph.passes.program import extract

ROWS, WIDTH, UNITS, IDS = 5, 3, 4, 24


@pytest.fixture(autouse=True)
def graph():
    g = rf.Graph()
    with g.as_default():
        yield g


def lookup(ids=IDS, rows=ROWS):
    table = rf.Variable(np.random.default_rng(1).standard_normal((rows, WIDTH)), name="table")
    weights = rf.Variable(np.random.default_rng(2).standard_normal((WIDTH, UNITS)), name="weights")
    index = rf.placeholder(rf.int32, [ids], name="ids")
    return table, weights, index, rf.matmul(rf.gather(table, index), weights)


def products(fetches, feeds, targets=()):
    """Rows of the left factor of each product that is left."""
    program = passes.optimise(extract(rf.get_default_graph(), fetches, targets, feeds, [t.shape for t in feeds]))
    return [op.outputs[0].shape.known for op in program.graph.get_operations() if op.type == "MatMul"]


def without(monkeypatch):
    kept = [p for p in passes.PASSES if p[1] is not repeated_rows.multiply_before_lookup]
    monkeypatch.setattr(passes, "PASSES", kept)


def trained(fetches, train_op, index, value, backend="cpp"):
    """Fetches of three steps, and all variables then."""
    with rf.Session(backend=backend) as session:
        session.run(rf.global_variables_initializer())
        steps = [session.run([*fetches, train_op], {index: value})[:-1] for _ in range(3)]
        return [*(x for step in steps for x in step), *session.run(rf.global_variables())]


@pytest.mark.parametrize("optimizer", [lambda: rf.train.GradientDescentOptimizer(0.1),
                                       lambda: rf.train.MomentumOptimizer(0.1, 0.9)], ids=["descent", "momentum"])
@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_training_gives_the_same_numbers_and_products_of_the_table(optimizer, backend, monkeypatch):
    _, _, index, h = lookup()
    loss = rf.reduce_sum(rf.tanh(h) * rf.constant(np.linspace(-1, 1, IDS * UNITS).reshape(IDS, UNITS)))
    train_op = optimizer().minimize(loss)
    ids = np.random.default_rng(3).integers(0, ROWS, IDS).astype(np.int32)
    ids[ids == 2] = 1  # a row that nobody looks up
    shapes = products([loss], [index], [train_op])
    assert (ROWS, UNITS) in shapes and (IDS, UNITS) not in shapes
    rewritten = trained([loss, h], train_op, index, ids, backend)
    without(monkeypatch)
    for a, b in zip(rewritten, trained([loss, h], train_op, index, ids, backend)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_the_update_of_the_table_is_by_its_rows():
    _, _, index, h = lookup()
    train_op = rf.train.GradientDescentOptimizer(0.1).minimize(rf.reduce_sum(h * h))
    assert set(products([h], [index], [train_op])) == {(ROWS, UNITS), (WIDTH, UNITS), (ROWS, WIDTH)}


def test_rows_that_are_looked_up_seldom_are_gathered_first():
    _, _, index, h = lookup(ids=2 * ROWS - 1)
    assert products([h], [index]) == [(2 * ROWS - 1, UNITS)]


def test_a_lookup_that_others_read_too_is_still_there(monkeypatch):
    table, weights, index, _ = lookup()
    x = rf.gather(table, index)
    fetches = [rf.matmul(x, weights), rf.reduce_sum(x, 0), rf.matmul(x, x, transpose_a=True)]
    assert (ROWS, UNITS) in products(fetches, [index])
    ids = np.random.default_rng(4).integers(0, ROWS, IDS).astype(np.int32)
    rewritten = trained(fetches, rf.no_op(), index, ids)
    without(monkeypatch)
    for a, b in zip(rewritten, trained(fetches, rf.no_op(), index, ids)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_updates_that_come_after_the_lookup_do_not_change_what_it_gave(monkeypatch):
    table, weights, index, _ = lookup()
    x = rf.gather(table, index)
    with rf.control_dependencies([x]):
        changed = table.assign_add(np.ones((ROWS, WIDTH)))
    with rf.control_dependencies([changed]):
        g = rf.identity(index)
    late = rf.cast(g, rf.float64)[:, None] * rf.ones([1, UNITS], rf.float64)
    fetches = [rf.matmul(x, late, transpose_a=True), rf.matmul(x, weights)]
    ids = np.random.default_rng(5).integers(0, ROWS, IDS).astype(np.int32)
    rewritten = trained(fetches, changed, index, ids)
    without(monkeypatch)
    for a, b in zip(rewritten, trained(fetches, changed, index, ids)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_an_id_out_of_range_is_named_as_before():
    _, _, index, h = lookup()
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        with pytest.raises(rf.errors.InvalidArgumentError, match="7"):
            session.run(h, {index: np.full(IDS, 7, np.int32)})


def test_lookups_inside_a_loop_stay(monkeypatch):
    table, weights, index, _ = lookup()
    total = rf.while_loop(lambda i, s: i < 3, lambda i, s: [i + 1, s + rf.matmul(rf.gather(table, index), weights)],
                          [0, rf.zeros([IDS, UNITS], rf.float64)])[1]
    ids = np.random.default_rng(6).integers(0, ROWS, IDS).astype(np.int32)
    [got, _, _] = trained([total], rf.no_op(), index, ids)[:3]
    without(monkeypatch)
    np.testing.assert_allclose(got, trained([total], rf.no_op(), index, ids)[0], rtol=1e-12)


def test_a_lookup_on_the_right_of_a_product_makes_no_copy_of_the_table():
    table, _, index, _ = lookup()
    left = rf.placeholder(rf.float64, [2, IDS], name="left")
    fetches = [rf.matmul(left, rf.gather(table, index))]
    program = passes.optimise(extract(rf.get_default_graph(), fetches, [], [index, left], [index.shape, left.shape]))
    assert "Snapshot" not in {op.type for op in program.graph.get_operations()}
