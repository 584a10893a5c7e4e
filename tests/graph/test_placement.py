"""Placement: what must stay together does, names are obeyed, and no device alone is faster on the recorded costs."""
import random

import pytest
import ringflow as rf
from hypothesis import HealthCheck, given, settings, strategies as st
from ringflow.graph.device import Device, DeviceSpec, local_devices
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.passes import extract
from ringflow.graph.passes.devices.place import groups, place
from ringflow.graph.placement import search as placement
from ringflow.graph.placement.costs import Costs, from_steps

from .random_graphs import random_graph

pytestmark = pytest.mark.usefixtures("graph")

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None,
                    suppress_health_check=list(HealthCheck))


def cpus(n):
    return local_devices({"CPU": n}, {"CPU": 60})


def anywhere(op, device_type):
    return True


def program_of(fetches, targets=(), feeds=()):
    return extract(rf.get_default_graph(), fetches, targets, feeds, [None] * len(feeds))


def devices_of(program):
    return {op.name: DeviceSpec.parse(op.device).device_index for op in program.graph.get_operations()}


# ---- what stays together
def test_references_handles_and_colocated_nodes_share_a_device():
    with rf.device("/cpu:1"):
        v = rf.Variable([1.0, 2.0], name="v")
        w = rf.Variable([1.0, 2.0], name="w", use_resource=True)
    up, up_w = v.assign_add([1.0, 1.0]), w.assign_add([1.0, 1.0])
    with rf.colocate_with(v.op):
        a = rf.constant(3.0, name="a")
    program = program_of([up, up_w, a * 2.0])
    place(program, cpus(2), anywhere)
    on = devices_of(program)
    assert {on[n] for n in ("v", "AssignAdd", "w", "AssignAddVariableOp", "a")} == {1}


def test_shape_questions_and_lone_sources_go_with_their_neighbour():
    with rf.device("/cpu:1"):
        x = rf.random_uniform([3, 4], name="x")
        y = rf.identity(rf.constant([1.0], name="only_for_y"), name="y")
    program = program_of([rf.shape(x, name="s"), y])
    place(program, cpus(2), anywhere)
    on = devices_of(program)
    assert on["s"] == 1 and on["only_for_y"] == 1


def test_nodes_that_must_be_together_but_cannot_are_named():
    with rf.device("/cpu:0"):
        v = rf.Variable(1.0, name="v")
    with rf.device("/cpu:1"):
        up = rf.get_default_graph().create_op("AssignAdd", [v.op.outputs[0], rf.constant(1.0)], {}, "up")
    with pytest.raises(InvalidArgumentError, match="must be on one device with '(v|up)'.*test_placement.py"):
        place(program_of([], [up]), cpus(2), anywhere)
    program = program_of([], [up])
    place(program, cpus(2), anywhere, soft=True)
    on = devices_of(program)
    assert on["v"] == on["up"]


# ---- kernels and device types
def accelerated():
    spec = DeviceSpec("localhost", 0, 0, "SIM", 0)
    return [Device(str(spec), spec, 210, 1), *cpus(1)]


def only_products(op, device_type):
    return device_type == "CPU" or op.type in ("MatMul", "Const", "_Retval")


def test_nodes_go_only_where_they_have_a_kernel():
    a = rf.identity(rf.fill([64, 64], 1.0), name="a")
    b = rf.matmul(a, a, name="b")
    program = program_of([rf.tanh(b, name="c")])
    place(program, accelerated(), only_products, costs=Costs({"a": 1.0, "b": 1e4, "c": 1.0}, speeds={"SIM": 10.0}))
    by_name = {op.name: DeviceSpec.parse(op.device).device_type for op in program.graph.get_operations()}
    assert (by_name["a"], by_name["b"], by_name["c"]) == ("CPU", "SIM", "CPU")
    with rf.device("/device:SIM:0"):
        d = rf.tanh(b, name="d")
    with pytest.raises(InvalidArgumentError, match="operation d:.*assigned to /device:SIM:0, where no kernel of Tanh"):
        place(program_of([d]), accelerated(), only_products)
    program = program_of([d])
    place(program, accelerated(), only_products, soft=True)
    assert program.graph.get_operation_by_name("d").device.endswith("CPU:0")


# ---- costs
def two_chains(length=4):
    """Two independent chains that meet at the end."""
    ends = []
    for c in "ab":
        h = rf.random_uniform([8], name=f"{c}_in")
        for i in range(length):
            h = rf.tanh(h, name=f"{c}{i}")
        ends.append(h)
    return rf.add_n(ends, name="sum")


def test_independent_work_is_spread_where_it_pays_and_kept_where_not():
    end = two_chains()
    for cost, used in ((1000.0, {0, 1}), (1.0, {0})):
        program = program_of([end])
        names = [op.name for op in program.graph.get_operations()]
        place(program, cpus(2), anywhere, costs=Costs(dict.fromkeys(names, cost)))
        assert set(devices_of(program).values()) == used


def test_measured_costs_are_medians_of_nodes_that_belong_to_the_step():
    steps = [{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 5.0}, {"a": 100.0, "b": 5.0, "once": 9.0}]
    assert from_steps(steps).times == {"a": 3.0, "b": 5.0}
    assert from_steps([]).times == {}


@PROPERTY
@given(st.integers(0, 10**6), st.integers(2, 4), st.floats(0.1, 1000.0), st.integers(5, 40))
def test_a_placement_is_legal_and_no_device_alone_is_faster(seed, n, latency, nodes):
    source = random.Random(seed)
    made = random_graph(source, nodes)
    fetches, feeds = made.runs[0]
    for op in made.graph.get_operations():
        if source.random() < 0.2:
            op.device = f"/cpu:{source.randrange(n)}"
    tensors = [f for f in fetches if isinstance(f, rf.Tensor)]
    targets = [f for f in fetches if isinstance(f, rf.Operation)]
    program = extract(made.graph, tensors, targets, list(feeds), [None] * len(feeds))
    asked = {op: op.device for op in program.graph.get_operations()}
    group = groups(program)
    devices = cpus(n)
    costs = Costs({op.name: source.expovariate(0.01) for op in asked}, latency_us=latency, byte_us=0.01)
    place(program, devices, anywhere, soft=True, costs=costs)
    chosen = {op: next(d for d in devices if d.name == op.device) for op in asked}
    for op in asked:
        same = [o for o in asked if group[o] == group[op]]
        assert len({chosen[o] for o in same}) == 1
        named = {asked[o] for o in same if asked[o]}
        if len(named) == 1:
            assert DeviceSpec.parse(named.pop()).matches(chosen[op].spec)
    legal = {}
    for op in asked:
        named = [DeviceSpec.parse(asked[o]) for o in asked if group[o] == group[op] and asked[o]]
        fits = [d for d in devices if all(s.matches(d.spec) for s in named)]
        legal[group[op]] = fits or [chosen[op]]
    problem = placement.problem(list(asked), group, legal, costs)
    mine = placement.simulate(problem, {group[op]: chosen[op] for op in asked})
    for d in devices:
        assert mine <= placement.simulate(problem, placement.on_one(problem, d)) + 1e-6
