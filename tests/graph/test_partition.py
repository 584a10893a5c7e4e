"""Partition: partitions compute together what one device computes, with one receive for each tensor and destination."""
import random
import re

import numpy as np
import pytest
import ringflow as rf
from hypothesis import HealthCheck, given, settings, strategies as st
from ringflow.graph.device import Device, DeviceSpec, local_devices
from ringflow.graph.files.text import node_text
from ringflow.graph.graph import Graph
from ringflow.graph.interpreter import Interpreter, State
from ringflow.graph.opdef import OPS
from ringflow.graph.operation import Operation
from ringflow.graph.ops.transfer import key_of
from ringflow.graph.passes import extract, optimise, place
from ringflow.graph.passes.devices import partition, receive
from ringflow.graph.placement.costs import Costs

from .random_graphs import random_graph

pytestmark = pytest.mark.usefixtures("graph")


def cpus(n):
    return local_devices({"CPU": n}, {"CPU": 60})


def placed(fetches, targets=(), feeds=(), devices=None):
    program = extract(fetches[0].graph if fetches else targets[0].graph, fetches, targets, feeds, [None] * len(feeds))
    place(program, devices or cpus(2), lambda op, kind: True, soft=True)
    return program


def split(fetches, targets=(), feeds=(), devices=None, **options):
    devices = devices or cpus(2)
    return partition(placed(fetches, targets, feeds, devices), devices, **options)


def ops_of(part, op_type):
    return [op for op in part.graph.get_operations() if op.type == op_type]


def joined(parts):
    """All partitions as one graph again, each `_Recv` an Identity of what its `_Send` is given."""
    whole, copies, sent = Graph(), {}, {}
    waiting = [(p, op) for p in parts for op in p.graph.get_operations()]
    while waiting:
        later = []
        for p, op in waiting:
            ready = all(t.op in copies for t in op.inputs) and all(c in copies for c in op.control_inputs)
            if not ready or op.type == "_Recv" and key_of(op) not in sent:
                later.append((p, op))
                continue
            inputs = [copies[t.op].outputs[t.index] for t in op.inputs]
            name, attrs, kind = op.name, dict(op.attrs), op.op_def  # names tell variables apart: they stay
            if op.type == "_Recv":
                inputs = [sent[key_of(op)]]
            elif op.type == "_Retval":
                attrs["index"] = p.fetches[attrs["index"]]
            if op.type in ("_Send", "_Recv"):
                name, attrs, kind = key_of(op) + op.type, {"T": inputs[0].dtype}, OPS["Identity"]
            copies[op] = Operation(whole, kind, name, inputs, attrs, [copies[c] for c in op.control_inputs], "")
            for t, original in zip(copies[op].outputs, op.outputs):
                t.shape = original.shape
            whole._add(copies[op])
            if op.type == "_Send":
                sent[key_of(op)] = copies[op].outputs[0]
        assert len(later) < len(waiting), f"nothing can run: {[op.name for _, op in later]}"
        waiting = later
    return whole


# ---- form
def test_one_receive_serves_all_readers_of_a_tensor_on_a_device():
    with rf.device("/cpu:0"):
        x = rf.random_uniform([4], name="x")
        a = x + 1.0
    with rf.device("/cpu:1"):
        y = rf.tanh(x) + rf.sqrt(x) + a
        z = rf.exp(x)
    parts = split([y, z])
    assert [p.device.spec.device_index for p in parts] == [0, 1]
    assert len(ops_of(parts[0], "_Send")) == len(ops_of(parts[1], "_Recv")) == 2
    assert {key_of(op) for op in ops_of(parts[0], "_Send")} == {key_of(op) for op in ops_of(parts[1], "_Recv")}
    recv = ops_of(parts[1], "_Recv")[0]
    assert recv.outputs[0].shape.as_list() == [4]
    assert recv.attrs["send_device"].endswith("CPU:0") and recv.attrs["recv_device"].endswith("CPU:1")
    assert recv.attrs["tensor_name"].startswith("edge_")


def test_feeds_and_constants_are_not_sent():
    x = rf.placeholder(rf.float32, [2])
    c = rf.constant([1.0, 2.0])
    with rf.device("/cpu:0"):
        a = x * c
    with rf.device("/cpu:1"):
        b = x - c
    parts = split([a, b], feeds=[x])
    for part, fetched in zip(parts, ([0], [1])):
        assert not ops_of(part, "_Send") and not ops_of(part, "_Recv")
        assert [op.attrs["index"] for op in ops_of(part, "_Arg")] == [0]
        assert part.fetches == fetched


def test_a_control_edge_crosses_as_an_empty_tensor():
    with rf.device("/cpu:0"):
        first = rf.no_op(name="first")
    with rf.device("/cpu:1"), rf.control_dependencies([first]):
        a, b = rf.no_op(name="a"), rf.no_op(name="b")
    one, two = split([], [a, b])
    text = "\n".join(re.split(" [{@]", node_text(op))[0] for p in (one, two) for op in p.graph.get_operations())
    assert text == """\
first = NoOp()
first/_done = Const(^first)
first/_send = _Send(first/_done)
first/_recv = _Recv()
first/_wait = Identity(first/_recv)
a = NoOp(^first/_wait)
b = NoOp(^first/_wait)"""
    assert ops_of(one, "Const")[0].attrs["value"].shape == (0,)


def test_a_reference_read_elsewhere_waits_for_what_its_reader_waits_for():
    with rf.device("/cpu:0"):
        v = rf.Variable(1.0, name="v")
        up = v.assign_add(2.0)
    graph = rf.get_default_graph()
    with rf.device("/cpu:1"):
        after = graph.create_op("Mul", [v.op.outputs[0], rf.constant(10.0)], {}, "after", control_inputs=[up.op])
    program = extract(graph, [after.outputs[0]], [], [], [])
    for op in program.graph.get_operations():
        op.device = cpus(2)[op.name.startswith("after")].name
    one, two = partition(program, [Device(d.name, d.spec, 60, 1) for d in cpus(2)])
    read = next(op for op in one.graph.get_operations() if op.name.startswith("v/_read"))
    assert [c.name for c in read.control_inputs] == ["AssignAdd"]
    assert ops_of(one, "_Send")[0].inputs[0] is read.outputs[0]


def test_bfloat16_travels_between_tasks_only():
    def device(task, index):
        spec = DeviceSpec("worker", 0, task, "CPU", index)
        return Device(str(spec), spec, 60, 7)

    devices = [device(0, 0), device(0, 1), device(1, 0)]
    with rf.device("/task:0/cpu:0"):
        x = rf.identity(rf.placeholder(rf.float32, [2], name="p"), name="x")
        i = rf.identity(rf.constant([1, 2]), name="i")
    with rf.device("/task:0/cpu:1"):
        near = rf.identity(x)
    with rf.device("/task:1/cpu:0"):
        far, number = rf.identity(x), rf.identity(i)
    feeds = [rf.get_default_graph().get_tensor_by_name("p:0")]
    parts = split([near, far, number], feeds=feeds, devices=devices, bfloat16=True)
    sent = [op.attrs["T"] for op in ops_of(parts[0], "_Send")]
    assert sorted(d.name for d in sent) == ["bfloat16", "float32", "int32"]
    got = Interpreter(joined(parts), State()).run([np.array([1.005859375, 3.1415927], np.float32)])
    np.testing.assert_array_equal(got[0], np.array([1.005859375, 3.1415927], np.float32))
    np.testing.assert_array_equal(got[1], np.array([1.0, 3.140625], np.float32))


# ---- meaning
def results(graph, made, feeds, state):
    return Interpreter(graph, state).run(list(feeds.values()))


def check(seed, nodes):
    source = random.Random(seed)
    made = random_graph(source, nodes)
    n = source.randint(2, 4)
    devices = cpus(n)
    for op in made.graph.get_operations():
        if source.random() < 0.8:
            op.device = f"/cpu:{source.randrange(n)}"
    states = State(), State()
    for fetches, feeds in [(made.initialise, {}), *made.runs, (made.finals, {})]:
        tensors = [f for f in fetches if not isinstance(f, Operation)]
        targets = [f for f in fetches if isinstance(f, Operation)]
        program = extract(made.graph, tensors, targets, list(feeds), [rf.TensorShape(v.shape) for v in feeds.values()])
        place(program, devices, lambda op, kind: True, soft=True)
        optimise(program)
        want = Interpreter(program.graph, states[0]).run(list(feeds.values()))
        parts = partition(program, devices)
        edges = [(op.inputs[0], op.attrs["recv_device"]) for p in parts for op in ops_of(p, "_Send")]
        assert len(set(edges)) == len(edges)
        got = Interpreter(joined(parts), states[1]).run(list(feeds.values()))
        for a, b in zip(got, want):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6), st.integers(5, 40))
def test_partitions_compute_what_the_program_computes(seed, nodes):
    check(seed, nodes)


# ---- when to receive
def random_parts(seed):
    """Partitions of a random graph, and costs of its nodes."""
    source = random.Random(seed)
    made = random_graph(source, 40)
    devices = cpus(source.randint(2, 3))
    for op in made.graph.get_operations():
        op.device = f"/cpu:{source.randrange(len(devices))}"
    fetches, feeds = made.runs[0]
    program = extract(made.graph, [f for f in fetches if not isinstance(f, Operation)],
                      [f for f in fetches if isinstance(f, Operation)], list(feeds),
                      [rf.TensorShape(v.shape) for v in feeds.values()])
    place(program, devices, lambda op, kind: True, soft=True)
    costs = Costs({op.name: source.choice([0.5, 10.0, 300.0]) for op in program.graph.get_operations()},
                  latency_us=source.choice([1.0, 30.0]), byte_us=0.01)
    return partition(program, devices), costs, list(feeds.values()), (made, program)


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6))
def test_receives_that_come_late_do_not_lengthen_the_step(seed):
    parts, costs, _, _ = random_parts(seed)
    early = receive.simulate(parts, costs)
    receive.receive_late(parts, costs)
    position = {op: float(i) for i, op in enumerate(early.order)}
    for op in [op for p in parts for op in p.graph.get_operations()]:  # the same order of work on every device
        if op not in position:
            assert op.type == "ControlTrigger"
            position[op] = position[op.control_inputs[0]] + 0.25
        elif op.type == "_Recv":
            waiting = [o for p in parts for o in p.graph.get_operations() if op in o.control_inputs]
            position[op] = min(position[c] for c in [*op.outputs[0].consumers, *waiting]) - 0.25
    late = receive.simulate(parts, costs, sorted(position, key=position.__getitem__))
    assert late.makespan <= early.makespan + 1e-6
    receives = [op for op in early.order if op.type == "_Recv"]
    assert all(late.start[op] >= early.start[op] - 1e-6 for op in receives)
    assert all(late.start[op] > early.start[op] for op in receives if op.control_inputs)


def test_a_tensor_that_is_needed_last_is_received_last():
    with rf.device("/cpu:0"):
        x = rf.random_uniform([1000], name="x")
    with rf.device("/cpu:1"):
        h = rf.random_uniform([4], name="h")
        for i in range(5):
            h = rf.tanh(h, name=f"t{i}")
        y = rf.add(rf.reduce_sum(x), rf.reduce_sum(h), name="y")
    parts = split([y])
    names = [op.name for p in parts for op in p.graph.get_operations()]
    receive.receive_late(parts, Costs(dict.fromkeys(names, 100.0), latency_us=30.0))
    recv, = ops_of(parts[1], "_Recv")
    assert recv.control_inputs[0].type == "ControlTrigger"
    assert recv.control_inputs[0].control_inputs[0].name == "t3"


def test_late_receives_change_no_result():
    for seed in range(10):
        parts, costs, feeds, (made, program) = random_parts(seed)
        state = State(), State()
        initialise = extract(made.graph, [], made.initialise, [], [])
        for s in state:
            Interpreter(initialise.graph, s).run([])
        want = Interpreter(program.graph, state[0]).run(feeds)
        receive.receive_late(parts, costs)
        for a, b in zip(Interpreter(joined(parts), state[1]).run(feeds), want):
            np.testing.assert_array_equal(a, b)
