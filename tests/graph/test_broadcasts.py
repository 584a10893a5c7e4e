"""Broadcasts that elementwise ops do themselves."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.opdef import OPS
from ringflow.graph.passes.broadcasts import broadcast_late
from ringflow.graph.places import Places

from .plans import extracted, nodes, normal, optimised, placeholders, same_bits

pytestmark = pytest.mark.usefixtures("graph")


def rewritten(fetches, feeds):
    program = extracted(fetches, feeds)
    broadcast_late(program)
    return program


def made_of(t):
    """An expression of op types, from what `t` is made of."""
    op = t.op
    inside = [made_of(x) for x in op.inputs if x.op.type != "Const"]
    return f"{op.type}({', '.join(inside)})" if inside else op.type


def result(program):
    [fetch] = nodes(program, "_Retval")
    return fetch.inputs[0]


def test_an_op_with_another_operand_of_the_shape_broadcasts_itself():
    x, s = feeds = placeholders((6, 5), (6, 1))
    y = x * rf.broadcast_to(s, [6, 5])
    assert made_of(result(rewritten([y], feeds))) == "Mul(_Arg, _Arg)"
    assert same_bits([y], normal(feeds), broadcast_late)


def test_a_broadcast_of_all_operands_comes_after_the_op():
    x, s = feeds = placeholders((6, 5), (6, 1))
    y = rf.tanh(-rf.broadcast_to(s, [6, 5]) * 2.0 + rf.broadcast_to(s, [6, 5])) - x
    program = rewritten([y], feeds)
    assert made_of(result(program)) == "Sub(Tanh(AddV2(Mul(Neg(_Arg)), _Arg)), _Arg)"
    assert [op.outputs[0].shape.as_list() for op in nodes(program, "Tanh")] == [[6, 1]]
    assert same_bits([y], normal(feeds), broadcast_late)


def test_rows_and_columns_broadcast_to_more_than_either():
    row, column = feeds = placeholders((1, 5), (6, 1))
    y = rf.broadcast_to(row, [3, 6, 5]) * rf.broadcast_to(column, [3, 6, 5])
    program = rewritten([y], feeds)
    assert made_of(result(program)) == "BroadcastTo(Mul(_Arg, _Arg))" and result(program).shape.as_list() == [3, 6, 5]
    assert same_bits([y], normal(feeds), broadcast_late)


def test_sums_of_many_become_additions_from_the_left():
    x, s, z = feeds = placeholders((6, 5), (6, 1), (6, 5))
    y = rf.add_n([x, rf.broadcast_to(s, [6, 5]), z])
    assert made_of(result(rewritten([y], feeds))) == "AddV2(AddV2(_Arg, _Arg), _Arg)"
    assert same_bits([y], normal(feeds), broadcast_late)


def test_what_cannot_broadcast_itself_keeps_the_broadcast():
    x, s = feeds = placeholders((6, 5), (6, 1))
    y = rf.matmul(rf.broadcast_to(s, [6, 6]), x)
    assert made_of(result(rewritten([y], feeds))) == "MatMul(BroadcastTo(_Arg), _Arg)"


def test_what_another_op_lays_out_anew_is_repeated_where_it_is_read():
    x, s = feeds = placeholders((6, 5), (3, 2))
    y = x * rf.broadcast_to(rf.reshape(s, [6, 1]), [6, 5])
    assert made_of(result(rewritten([y], feeds))) == "Mul(_Arg, Reshape(_Arg))"
    assert same_bits([y], normal(feeds), broadcast_late)


@pytest.mark.parametrize("read", [lambda v: v, rf.identity, lambda v: rf.reshape(rf.identity(v), [6, 1])],
                         ids=["itself", "its value", "a reshape of its value"])
def test_a_variable_that_is_broadcast_keeps_the_value_it_had(read):
    v = rf.Variable(np.ones((6, 1), np.float32))
    wide = rf.broadcast_to(read(v), [6, 5])
    with rf.control_dependencies([wide]):
        update = rf.assign_add(v, np.ones((6, 1), np.float32))
    y = wide * (update * np.ones((6, 5), np.float32))
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        assert session.run(y).tolist() == [[2.0] * 5] * 6


@pytest.mark.parametrize("shape", [(6, 6), (3, 6, 6)], ids=["the shape of an operand", "a shape of neither"])
def test_broadcasts_in_a_loop_stay_in_it(shape):
    s, = feeds = placeholders((6, 1))

    def step(i, a):
        row, column = rf.broadcast_to(a[:1] + 1.0, [3, 1, 6]), rf.broadcast_to(a[:, :1] + 1.0, shape)
        return i + 1, rf.reduce_max(rf.tanh(column) * row, 0)

    fetches = list(rf.while_loop(lambda i, a: i < 3, step, [rf.constant(0), rf.broadcast_to(s, [6, 6])]))
    fetches += rf.gradients(fetches[1], s)
    assert same_bits(fetches, normal(feeds), broadcast_late)


def test_a_broadcast_that_its_shape_ties_to_a_branch_stays_in_it():
    x, y, p = (rf.placeholder(t, s) for t, s in ((rf.float32, (30, 1)), (rf.float32, (30, 20)), (rf.bool, ())))
    no, yes = OPS["Switch"](p, p)
    with rf.control_dependencies([rf.identity(yes)]):
        shape = rf.constant([30, 20])
    with rf.control_dependencies([rf.identity(no)]):
        other = rf.constant(np.full((30, 20), 7, np.float32))
    wide = rf.exp(rf.broadcast_to(x, shape) * y)  # x and y come from outside, as a file may say
    program = optimised(list(OPS["Merge"]([wide, other])), [x, y, p])
    places, [merge] = Places(program.graph.get_operations()), nodes(program, "Merge")
    assert {places.output(t).conditions for t in merge.inputs} == {
        frozenset({(nodes(program, "Switch")[0].inputs[1], branch)}) for branch in (0, 1)}
