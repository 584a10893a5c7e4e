"""Sums of products: which become one node, which must not, and that the values are those of the products."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.opdef import OPS
from ringflow.graph.passes.products import sum_products
from ringflow.graph.session import BACKENDS

from .plans import nodes, normal, optimised, placeholders, run, without

pytestmark = pytest.mark.usefixtures("graph")

STEPS, BATCH, UNITS = 5, 4, 8


def factors(m=16, n=24, ks=(2, 3, 4)):
    """(a (k, m), b (k, n)) for each k, and all of them in a list."""
    pairs = [placeholders((k, m), (k, n)) for k in ks]
    return pairs, [t for pair in pairs for t in pair]


def products(pairs):
    return [rf.matmul(a, b, transpose_a=True) for a, b in pairs]


def sums(fetches, feeds):
    """How many products each sum of the plan has."""
    return [op.attrs["N"] for op in nodes(optimised(fetches, feeds), "_SumOfProducts", "_AddProducts")]


def check_values(fetches, feeds, backend="cpp", scale=1.0):
    """The plan gives what the reference gives without the pass."""
    if backend not in BACKENDS:
        pytest.skip("ringflow._core is not built")
    values = normal(feeds, scale)
    with without(sum_products):
        expected = run(fetches, values, "reference")
    for g, w in zip(run(fetches, values, backend), expected):
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
    y = rf.add_n([more * 2.0, *products(pairs), more])
    program = optimised([y], [*feeds, more])
    found = [(op.type, op.attrs["N"]) for op in nodes(program, "_SumOfProducts", "AddN")]
    assert found == [("_SumOfProducts", 3), ("AddN", 3)]
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


def test_products_that_are_small_beside_their_factors_are_not_put_off():
    pairs, feeds = factors(8, 8, (8, 8, 8))
    assert sums([rf.add_n(products(pairs))], feeds) == [3]
    pairs, feeds = factors(8, 8, (9, 9, 9))
    assert not sums([rf.add_n(products(pairs))], feeds)
    assert sums([rf.add_n(products(pairs[:2]))], feeds[:4]) == [1], "one is added to the other"


def test_a_sum_that_repeats_a_term_over_others_stays():
    pairs, feeds = factors(1, 24, (1, 1))
    [wide] = placeholders((16, 24))
    a, b = products(pairs)
    y = (a + wide) + b
    assert not sums([y], [*feeds, wide])


def test_unknown_shapes_and_integers_stay():
    a, b = rf.placeholder(rf.float32, [None, 16]), rf.placeholder(rf.float32, [None, 24])
    assert not sums([rf.add_n(products([(a, b), (a * 2.0, b), (a * 3.0, b)]))], [a, b])
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


def test_products_of_a_variable_see_it_as_it_was_before_an_update():
    v = rf.Variable(np.full((4, 16), 1.0, np.float32))
    pairs, feeds = factors(ks=(4, 4))
    b = feeds[1]
    y = rf.add_n([rf.matmul(v, b, transpose_a=True), rf.matmul(v * 1.0, b, transpose_a=True),
                  rf.matmul(feeds[0], b, transpose_a=True)])
    update = v.assign_add(np.ones((4, 16), np.float32))
    program = optimised([y], [feeds[0], b], [update.op])
    [node] = nodes(program, "_SumOfProducts")
    [waits] = nodes(program, "AssignAdd")
    assert node.attrs["N"] == 3 and node in waits.control_inputs
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


# ---- over the iterations of a loop
def looped(steps=STEPS, batch=BATCH, units=UNITS):
    """(x, w, gradient of w) of h = tanh(x of the step + h w), in a loop."""
    x, w = placeholders((steps, batch, units), (units, units))
    rows = rf.TensorArray(rf.float32, size=steps).unstack(x)
    _, h = rf.while_loop(lambda i, h: i < steps, lambda i, h: (i + 1, rf.tanh(rows.read(i) + rf.matmul(h, w))),
                         [rf.constant(0), rf.zeros((batch, units))])
    return x, w, rf.gradients(rf.reduce_sum(h), [w])


@pytest.mark.parametrize("backend", ["reference", "cpp"])
@pytest.mark.parametrize("steps, batch", [(STEPS, BATCH), (40, 32), (3, 600), (0, 4)])
def test_the_iterations_of_a_loop_add_to_one_sum(steps, batch, backend):
    x, w, fetches = looped(steps, batch)
    program = optimised(fetches, [x, w])
    [added] = nodes(program, "_ProductSumAdd")
    assert added.attrs["N"] == 1 and added.attrs["transpose_a"]
    check_values(fetches, [x, w], backend, scale=0.3)


def test_several_products_of_an_iteration_go_to_one_sum():
    x, w = placeholders((6, 4, 4), (4, 4))
    total = rf.while_loop(
        lambda i, total: i < 3,
        lambda i, total: (i + 1, (total + rf.matmul(x[2 * i], x[i], True)) + rf.matmul(x[i], w, True)),
        [rf.constant(0), w * 2.0])[1]
    assert [op.attrs["N"] for op in nodes(optimised([total], [x, w]), "_ProductSumAdd")] == [2]
    check_values([total], [x, w])
    check_values([total, w * 2.0], [x, w])


def loop_variable(body, *more):
    """What a loop of three steps makes of a (4, 4) variable, and its feeds."""
    x, w = placeholders((3, 4, 4), (4, 4))
    return rf.while_loop(lambda i, total, *_: i < 3, lambda i, total, *rest: (i + 1, *body(x[i], total, *rest)),
                         [rf.constant(0), w * 1.0, *more])[1:], [x, w]


@pytest.mark.parametrize("body", [
    lambda a, total: (total * 0.5 + rf.matmul(a, a),),
    lambda a, total: (total + a,),
    lambda a, total: (total + rf.matmul(total, a),),
    lambda a, total: (total + rf.matmul(a, a) + rf.matmul(a, a, True),),
    lambda a, total: (rf.matmul(a, a) + rf.matmul(a, total),)])
def test_a_loop_variable_that_is_more_than_a_sum_of_products_stays(body):
    fetches, feeds = loop_variable(body)
    assert not nodes(optimised(list(fetches), feeds), "_ProductSumAdd")
    check_values(list(fetches), feeds)


def test_a_sum_that_an_iteration_reads_stays():
    fetches, feeds = loop_variable(lambda a, total, peak: (total + rf.matmul(a, a), rf.maximum(peak, total)),
                                   rf.zeros((4, 4)))
    assert not nodes(optimised(list(fetches), feeds), "_ProductSumAdd")
    check_values(list(fetches), feeds)


def test_a_loop_inside_a_loop_begins_its_sum_anew():
    x, w = placeholders((3, 4, 4), (4, 4))

    def outer(i, total):
        inner = rf.while_loop(lambda j, t: j < i, lambda j, t: (j + 1, t + rf.matmul(x[j], x[i])),
                              [rf.constant(0), total * 0.5])[1]
        return i + 1, inner

    fetches = [rf.while_loop(lambda i, total: i < 3, outer, [rf.constant(0), w * 1.0])[1]]
    assert len(nodes(optimised(fetches, [x, w]), "_ProductSumAdd")) == 1
    check_values(fetches, [x, w])


# ---- products added to something else
def test_a_product_is_added_where_the_other_term_lies():
    x, y, w = placeholders((8, 16), (16, 24), (4, 24))
    for z in (rf.matmul(x, y) + rf.concat([w, w], 0), rf.concat([w, w], 0) + rf.matmul(x, y)):
        program = optimised([z], [x, y, w])
        [node] = nodes(program, "_AddProducts")
        assert node.inputs[0].op.type == "_JoinRows" and not nodes(program, "MatMul", "AddV2")
        check_values([z], [x, y, w])


def test_a_sum_of_products_is_added_to_a_single_other_term():
    pairs, feeds = factors()
    [more] = placeholders((16, 24))
    y = rf.add_n([rf.exp(more), *products(pairs)])
    assert [op.attrs["N"] for op in nodes(optimised([y], [*feeds, more]), "_AddProducts")] == [3]
    check_values([y], [*feeds, more])


@pytest.mark.parametrize("why", ["a feed", "read twice", "elementwise before", "elementwise after"])
def test_an_addition_that_gains_nothing_stays(why):
    x, y, other = placeholders((8, 16), (16, 24), (8, 24))
    z = rf.reverse(other, [0])
    addend = {"a feed": other, "elementwise before": rf.exp(z)}.get(why, z)
    total = addend + rf.matmul(x, y)
    fetches = {"read twice": [total, z], "elementwise after": [rf.tanh(total)]}.get(why, [total])
    assert not nodes(optimised(fetches, [x, y, other]), "_AddProducts")
    check_values(fetches, [x, y, other])
