"""Products of views: what is read and written in place, what is not, and the same numbers."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.passes.products import views
from ringflow.graph.placement.flops import products
from ringflow.graph.session import BACKENDS

from .plans import kinds, nodes, normal, optimised, run, without

pytestmark = pytest.mark.usefixtures("graph")

BATCH, TIME, HEADS, WIDTH = 3, 7, 4, 5


def check_same(fetches, feeds):
    values = normal(feeds)
    with without(views.products_of_views):
        expected = run(fetches, values)
    for backend in sorted(BACKENDS):
        for a, b in zip(run(fetches, values, backend), expected):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def attention(x, heads=HEADS):
    """Of rows (batch * time, 3 * heads * width)."""
    def by_head(z):
        return rf.transpose(rf.reshape(z, [BATCH, TIME, heads, -1]), [0, 2, 1, 3])

    query, key, value = (by_head(z) for z in rf.split(x, 3, axis=1))
    mixed = rf.matmul(rf.nn.softmax(rf.matmul(query, key, transpose_b=True)), value)
    return rf.reshape(rf.transpose(mixed, [0, 2, 1, 3]), [BATCH * TIME, -1])


def projection():
    return rf.placeholder(rf.float64, (BATCH * TIME, 3 * HEADS * WIDTH))


def test_heads_of_attention_are_neither_copied_nor_transposed_forward_and_back():
    x = projection()
    y = attention(x)
    fetches = [y, rf.gradients(rf.reduce_sum(y * y), [x])[0]]
    found = kinds(optimised(fetches, [x]))
    assert found.count("_MatMulOfViews") == 4, "the gradients of queries, keys and values are one node"
    assert not {"Transpose", "Split", "BatchMatMulV2", "ConcatV2"} & set(found)
    check_same(fetches, [x])


def two_products():
    """Of shape (6, 4, 5) each, in a batch of (2, 3) that is transposed."""
    feeds = [rf.placeholder(rf.float64, s) for s in ((3, 2, 4, 7), (3, 2, 7, 5), (3, 2, 4, 8), (3, 2, 8, 5))]
    turned = [rf.transpose(t, [1, 0, 2, 3]) for t in feeds]
    return feeds, [rf.reshape(rf.matmul(a, b), [6, 4, 5]) for a, b in (turned[:2], turned[2:])]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_products_are_written_where_they_are_concatenated(axis):
    feeds, parts = two_products()
    y = rf.concat(parts, axis)
    found = kinds(optimised([y], feeds))
    assert found.count("_MatMulOfViews") == 1 and not {"ConcatV2", "_JoinRows", "Reshape"} & set(found)
    check_same([y], feeds)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("columns", [1, 5])
def test_products_are_concatenated_as_single_columns(axis, columns):
    feeds = [rf.placeholder(rf.float64, s) for s in ((3, 4, 7), (3, columns, 7)) * 2]
    products = [rf.matmul(a, rf.transpose(b, [0, 2, 1])) for a, b in (feeds[:2], feeds[2:])]
    y = rf.concat([rf.reshape(p, [3, 4, columns, 1]) for p in products], axis)
    assert kinds(optimised([y], feeds)).count("ConcatV2") == (axis == 3 and columns > 1)
    check_same([y], feeds)


def test_parts_that_others_read_or_that_strides_cannot_place_are_concatenated():
    _, parts = two_products()
    read_twice = [rf.concat(parts, 1), rf.reduce_sum(parts[0], 0)]
    astray = [rf.concat([rf.reshape(p, [40, 3]) for p in two_products()[1]], 1)]
    for fetches in (read_twice, astray):
        feeds = [op.outputs[0] for op in rf.get_default_graph().get_operations() if op.type == "Placeholder"]
        assert kinds(optimised(fetches, feeds)).count("_MatMulOfViews") == 2
    check_same([*read_twice, *astray], feeds)


def test_a_batch_of_plain_matrices_stays_as_it_is():
    x, y = (rf.placeholder(rf.float64, (2, 3, 4)) for _ in range(2))
    assert "_MatMulOfViews" not in kinds(optimised([rf.matmul(x, y, transpose_b=True)], [x, y]))


def test_a_transposed_result_that_is_read_twice_is_copied():
    x, y = (rf.placeholder(rf.float64, (2, 3, 4, 5)) for _ in range(2))
    z = rf.matmul(x, y, transpose_a=True)
    fetches = [rf.transpose(z, [0, 2, 1, 3]), rf.reduce_sum(z, [1])]
    assert {"Transpose", "BatchMatMulV2"} <= set(kinds(optimised(fetches, [x, y])))
    check_same(fetches, [x, y])


@pytest.mark.parametrize("perm", [[0, 1, 3, 2], [1, 0, 3, 2], [3, 1, 0, 2], [2, 0, 1, 3], [0, 3, 1, 2]])
def test_any_order_of_dimensions_gives_the_same_numbers(perm):
    x = rf.placeholder(rf.float64, (2, 3, 4, 5))
    turned = rf.transpose(x, perm)
    y = rf.placeholder(rf.float64, [turned.shape.as_list()[i] for i in (0, 1, 3)] + [6])
    check_same([rf.transpose(rf.matmul(turned, y), [1, 0, 2, 3])], [x, y])


def test_rows_of_one_number_and_one_head_are_products_like_others():
    x = rf.placeholder(rf.float64, (BATCH * TIME, 3))
    check_same([attention(x, heads=1)], [x])


@pytest.mark.parametrize("sizes", [(1, 1, 6), (1, 3, 6), (4, 1, 6), (4, 3, 1), (1, 3, 1), (1, 1, 1)])
@pytest.mark.parametrize("perm", [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 0, 1]])
def test_matrices_of_one_row_or_column_are_read_where_they_lie(sizes, perm):
    (m, k, n), batch = sizes, 5
    back = np.argsort(perm)
    x, y = feeds = [rf.placeholder(rf.float64, [shape[i] for i in back]) for shape in ((batch, m, k), (batch, k, n))]
    z = rf.matmul(rf.transpose(x, perm), rf.transpose(y, perm))
    check_same([z, rf.transpose(z, [1, 0, 2]), *rf.gradients(rf.transpose(z, [1, 0, 2]), feeds)], feeds)


def test_variables_that_change_in_the_run_are_read_before():
    v = rf.Variable(np.arange(24.0).reshape(2, 3, 4))
    turned = rf.transpose(rf.reshape(v, [2, 3, 2, 2]), [0, 2, 1, 3])
    y = rf.matmul(turned, turned, transpose_b=True)
    with rf.control_dependencies([y]):
        update = v.assign_add(np.ones((2, 3, 4)))
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        got, _ = session.run([y, update])
    a = np.arange(24.0).reshape(2, 3, 2, 2).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(got, a @ a.swapaxes(-1, -2))


def test_a_reshape_of_a_view_needs_strides_that_say_the_same():
    base = rf.placeholder(rf.float32, (4, 6))
    whole = views.View(base, (4, 6), (6, 1))
    assert whole.reshaped((2, 2, 3, 2)).strides == (12, 6, 2, 1)
    assert whole.transposed([1, 0]).reshaped((24,)) is None
    assert whole.transposed([1, 0]).reshaped((2, 3, 4)).strides == (3, 1, 6)
    assert views.View(base, (2, 3), (8, 2)).reshaped((6,)) is None
    assert views.View(base, (2, 3), (6, 2)).reshaped((6,)).strides == (2,)
    assert views.View(base, (2, 3), (6, 2)).reshaped((1, 2, 3, 1)).strides == (0, 6, 2, 0)


def test_its_operations_are_those_of_the_products_it_stands_for():
    x = projection()
    counts = [products(op) for op in nodes(optimised([attention(x)], [x]), "_MatMulOfViews")]
    assert counts == [2 * BATCH * HEADS * TIME * TIME * WIDTH] * 2
