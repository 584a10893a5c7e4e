"""Property test of consensus: 200 random changes of one node on one rank, each named on every rank within a second."""
import random
import time

import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import loopback
from ringflow.collectives.consensus import _compared
from ringflow.graph.errors import GraphError
from ringflow.graph.opdef import lookup as op_def_of
from ringflow.graph.passes import extract, optimise

ALIKE = [["Tanh", "Sigmoid", "Relu", "Abs", "Neg", "Square", "Exp"], ["Add", "Sub", "Mul", "Maximum", "Minimum"],
         ["Sum", "Prod", "Max", "Min"], ["TanhGrad", "SigmoidGrad"]]


def build():
    x = rf.placeholder(rf.float32, [None, 4], name="x")
    y = rf.placeholder(rf.float32, [None, 3], name="y")
    h = x
    for i in range(3):
        w = rf.Variable(np.ones((4, 4), np.float32), name=f"w{i}")
        b = rf.Variable(np.ones(4, np.float32), name=f"b{i}")
        h = rf.tanh(rf.add(rf.matmul(h, w, name=f"product{i}"), b, name=f"sum{i}"), name=f"act{i}")
    v = rf.Variable(np.ones((4, 3), np.float32), name="v")
    loss = rf.reduce_mean(rf.square(rf.subtract(rf.matmul(h, v), y, name="error")), name="loss")
    return [x, y], rf.distribute(rf.train.MomentumOptimizer(0.1, 0.9).minimize(loss))


def rename(op, _):
    op.name += "_edited"


def replace_op(op, rng):
    for family in ALIKE:
        if op.type in family:
            op.op_def = op_def_of(rng.choice([t for t in family if t != op.type]))
            return
    raise LookupError


def change_constant(op, rng):
    if op.type != "Const" or op.attrs["value"].dtype.kind != "f":
        raise LookupError
    op.attrs["value"] = op.attrs["value"] + np.float32(rng.choice([1e-6, 0.5, -2.0]))


def flip_attr(op, rng):
    names = [n for n, v in op.attrs.items() if isinstance(v, bool) and not n.startswith(("transpose", "keep"))]
    if not names:
        raise LookupError
    name = rng.choice(names)
    op.attrs[name] = not op.attrs[name]


def swap_inputs(op, _):
    if len(op.inputs) != 2 or op.inputs[0] is op.inputs[1] or op.inputs[0].shape != op.inputs[1].shape:
        raise LookupError
    if any(a.is_ref for a in op.op_def.inputs):
        raise LookupError
    op.inputs.reverse()


def add_control_input(op, rng):
    earlier = [o for o in op.graph.get_operations() if o.id < op.id and o.type == "Placeholder"]
    if not earlier:
        raise LookupError
    op.control_inputs.append(rng.choice(earlier))


EDITS = [rename, replace_op, change_constant, flip_attr, swap_inputs, add_control_input]


def told(world, number, edit, rng):
    """(name of the edited node, what check_consensus says, seconds of CPU time). The node: the first that allows it."""
    with rf.Graph().as_default() as graph:
        feeds, train_op = build()
        program = extract(graph, [], [train_op], feeds, [None] * len(feeds))
        names = [op.name for op in _compared(program.source_ops)]
        edited = None
        if world.rank == 1:
            for i in range(number, number + len(names)):
                edited = names[i % len(names)]
                try:
                    edit(graph.get_operation_by_name(edited), rng)
                    break
                except LookupError:
                    continue
        edited = world.broadcast_object(edited, root=1)
        begin = time.thread_time()
        try:
            optimise(extract(graph, [], [train_op], feeds, [None] * len(feeds)))
        except GraphError as e:
            return edited, str(e), time.thread_time() - begin
        return edited, "", 0.0


@pytest.mark.parametrize("edits", [18, pytest.param(200, marks=pytest.mark.slow)])
def test_random_edits_are_each_named_on_every_rank_within_a_second(edits):
    rng = random.Random(0)
    slowest = 0.0
    for i in range(edits):
        number, edit, seed = rng.randrange(10_000), EDITS[i % len(EDITS)], rng.random()
        answers = loopback.run(2, lambda w: told(w, number, edit, random.Random(seed)))  # noqa: B023
        for rank, (name, text, seconds) in enumerate(answers):
            assert f"[consensus] rank {rank}/2: the ranks hold different graphs" in text, (edit.__name__, name, text)
            assert f"{name} = " in text or f"{name}_edited = " in text, (edit.__name__, name, text)
            slowest = max(slowest, seconds)
    print(f"{edits} edits, slowest {slowest:.2f} s")
    assert slowest < 1.0
