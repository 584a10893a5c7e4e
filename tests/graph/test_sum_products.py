"""Sums of products: which become one node, which must not, and that the values are those of the products."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import passes
from ringflow.graph.opdef import OPS
from ringflow.graph.passes import sum_products
from ringflow.graph.passes.program import extract
from ringflow.graph.session import BACKENDS

STEPS, BATCH, UNITS = 5, 4, 8


@pytest.fixture(autouse=True)
def graph():
    g = rf.Graph()
    with g.as_default():
        yield g


def placeholders(*shapes):
    return [rf.placeholder(rf.float32, s) for s in shapes]


def factors(m=16, n=24, ks=(2, 3, 4)):
    """(a (k, m), b (k, n)) for each k, and all of them in a list."""
    pairs = [placeholders((k, m), (k, n)) for k in ks]
    return pairs, [t for pair in pairs for t in pair]


def products(pairs):
    return [rf.matmul(a, b, transpose_a=True) for a, b in pairs]


def optimised(fetches, feeds, targets=()):
    return passes.optimise(extract(rf.get_default_graph(), fetches, targets, feeds, [t.shape for t in feeds]))


def nodes(program, *kinds):
    return [op for op in program.graph.get_operations() if op.type in kinds]


def sums(fetches, feeds):
    """How many products each `_SumOfProducts` of the plan has."""
    return [op.attrs["N"] for op in nodes(optimised(fetches, feeds), "_SumOfProducts")]


def check_values(fetches, feeds, backend="cpp"):
    """The plan gives what the reference gives without the pass."""
    if backend not in BACKENDS:
        pytest.skip("ringflow._core is not built")
    rng = np.random.default_rng(5)
    arrays = {t: rng.standard_normal(t.shape.as_list()).astype(np.float32) for t in feeds}
    with rf.Session(backend=backend) as session:
        got = session.run(fetches, arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PASSES", [p for p in passes.PASSES if p[1] is not sum_products.sum_products])
        with rf.Session(backend="reference") as session:
            want = session.run(fetches, arrays)
    for g, w in zip(got, want):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "cpp"])
def test_a_sum_of_products_becomes_one_node(backend):
    pairs, feeds = factors()
    y = rf.add_n(products(pairs))
    program = optimised([y], feeds)
    [node] = nodes(program, "_SumOfProducts")
    assert not nodes(program, "MatMul", "AddN")
    assert node.attrs["transpose_a"] and not node.attrs["transpose_b"]
    assert [t.op.name for t in node.inputs] == [f"{t.op.name}/_arg_0" for t in (*feeds[::2], *feeds[1::2])]
    check_values([y], feeds, backend)


def test_a_tree_of_additions_is_one_sum():
    pairs, feeds = factors(ks=(2, 3, 4, 5))
    a, b, c, d = products(pairs)
    y = (a + b) + rf.add_n([c, d])
    assert sums([y], feeds) == [4]
    check_values([y], feeds)


def test_the_weights_of_an_unrolled_network_have_one_product_for_all_steps():
    x = rf.placeholder(rf.float32, (STEPS * BATCH, UNITS))
    w = rf.placeholder(rf.float32, (UNITS, UNITS))
    h = rf.zeros((BATCH, UNITS))
    for part in rf.split(x, STEPS):
        h = rf.tanh(part + rf.matmul(h, w))
    y = rf.gradients(rf.reduce_sum(h), [w])
    assert sums(y, [x, w]) == [STEPS]
    check_values(y, [x, w])


def test_other_terms_are_added_afterwards():
    pairs, feeds = factors()
    [more] = placeholders((16, 24))
    y = rf.add_n([more * 2.0, *products(pairs)])
    program = optimised([y], [*feeds, more])
    assert [op.attrs["N"] for op in nodes(program, "_SumOfProducts")] == [3]
    check_values([y], [*feeds, more])


def test_a_product_that_somebody_else_reads_stays():
    pairs, feeds = factors()
    terms = products(pairs)
    fetches = [rf.add_n(terms), terms[0]]
    assert sums(fetches, feeds) == [2]
    check_values(fetches, feeds)


def test_a_term_that_occurs_twice_stays():
    pairs, feeds = factors(ks=(2, 3))
    a, b = products(pairs)
    y = rf.add_n([a, b, a])
    assert not sums([y], feeds)
    check_values([y], feeds)


def test_products_of_other_transposes_stay():
    pairs, feeds = factors(16, 16)
    [square, other] = placeholders((16, 3), (3, 16))
    y = rf.add_n([rf.matmul(square, other), *products(pairs)])
    assert sums([y], [*feeds, square, other]) == [3]
    check_values([y], [*feeds, square, other])


def test_products_that_are_small_beside_their_factors_stay():
    pairs, feeds = factors(8, 8, (9, 9))
    assert not sums([rf.add_n(products(pairs))], feeds)
    pairs, feeds = factors(8, 8, (8, 8))
    assert sums([rf.add_n(products(pairs))], feeds) == [2]


def test_a_sum_that_repeats_a_term_over_others_stays():
    pairs, feeds = factors(1, 24, (1, 1))
    [wide] = placeholders((16, 24))
    a, b = products(pairs)
    y = (a + wide) + b
    assert not sums([y], [*feeds, wide])


def test_unknown_shapes_and_integers_stay():
    a, b = rf.placeholder(rf.float32, [None, 16]), rf.placeholder(rf.float32, [None, 24])
    assert not sums([rf.add_n(products([(a, b), (a * 2.0, b)]))], [a, b])
    a, b = rf.placeholder(rf.int32, [2, 16]), rf.placeholder(rf.int32, [2, 24])
    assert not sums([rf.add_n(products([(a, b), (a * 2, b)]))], [a, b])


def test_what_waits_for_a_product_or_is_waited_for_by_it_stays():
    pairs, feeds = factors()
    terms = products(pairs)
    with rf.control_dependencies([terms[0]]):
        late = rf.identity(feeds[0]) * 2.0
    with rf.control_dependencies([late]):
        last = rf.matmul(*pairs[2], transpose_a=True)
    assert not sums([rf.add_n([terms[0], terms[1], last])], feeds)


def test_products_of_a_variable_that_the_run_updates_stay():
    v = rf.Variable(np.full((4, 16), 1.0, np.float32))
    pairs, feeds = factors(ks=(4, 4))
    b = feeds[1]
    y = rf.add_n([rf.matmul(v, b, transpose_a=True), rf.matmul(v * 1.0, b, transpose_a=True),
                  rf.matmul(feeds[0], b, transpose_a=True)])
    update = v.assign_add(np.ones((4, 16), np.float32))
    program = optimised([y], [feeds[0], b], [update.op])
    assert [op.attrs["N"] for op in nodes(program, "_SumOfProducts")] == [2]
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        got, _ = session.run([y, update.op], {feeds[0]: np.zeros((4, 16)), b: np.ones((4, 24))})
    np.testing.assert_array_equal(got, np.full((16, 24), 8.0))


def test_a_product_on_a_branch_is_not_summed_where_it_may_be_dead():
    pairs, feeds = factors(ks=(2, 3))
    take = rf.placeholder(rf.bool, [])
    y = rf.cond(take, lambda: rf.add_n(products(pairs)), lambda: rf.zeros((16, 24)))
    assert sums([y], [*feeds, take]) == [2], "both are on the branch"
    no, yes = OPS["Switch"](feeds[0], take)
    branch = rf.matmul(yes, feeds[1], transpose_a=True)
    z = rf.add_n([branch, *products(pairs)])
    assert not sums([z, no], [*feeds, take]), "the sum is dead where the branch is not taken, the products are not"


def test_the_node_stands_where_the_sum_stood():
    pairs, feeds = factors()
    y = rf.add_n(products(pairs))
    late = rf.exp(feeds[0])
    names = [op.name for op in optimised([y, late], feeds).graph.get_operations()]
    assert names.index(f"{y.op.name}/_products") < names.index(late.op.name)
