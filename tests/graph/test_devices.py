"""Device names, scopes, colocation, and what happens to a device that is not there."""
import numpy as np
import pytest
import ringflow as rf
from hypothesis import given, settings, strategies as st
from ringflow.graph.device import DeviceSpec, local_devices
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.passes import extract, place

CPU0 = "/job:localhost/replica:0/task:0/device:CPU:0"
CPU1 = "/job:localhost/replica:0/task:0/device:CPU:1"

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture(autouse=True)
def one_rank(monkeypatch):
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "RANK"):
        monkeypatch.delenv(name, raising=False)


# ---- names
@pytest.mark.parametrize("text, full", [
    ("/job:worker/replica:0/task:3/device:CPU:0", "/job:worker/replica:0/task:3/device:CPU:0"),
    ("/cpu:0", "/device:CPU:0"), ("/gpu:12", "/device:GPU:12"), ("/device:gpu:1", "/device:GPU:1"),
    ("gpu:1", "/device:GPU:1"),
    ("/device:CPU:*", "/device:CPU:*"), ("/gpu", "/device:GPU:*"), ("/job:*/task:*", ""), ("", ""),
    ("/task:5/device:XLA_CPU:2", "/task:5/device:XLA_CPU:2"), ("/job:ps_2/cpu:0", "/job:ps_2/device:CPU:0"),
])
def test_full_short_and_partial_names_are_read(text, full):
    assert str(DeviceSpec.parse(text)) == full
    assert DeviceSpec.parse(full) == DeviceSpec.parse(text)


@pytest.mark.parametrize("text, why", [
    ("/nonsense", "cannot read 'nonsense'"), ("/task:x", "cannot read"), ("/cpu:-1", "cannot"),
    ("/cpu:0/gpu:0", "says twice which type"), ("/task:1/task:2", "says twice which task"),
])
def test_wrong_names_say_what_is_wrong(text, why):
    with pytest.raises(InvalidArgumentError, match=why):
        DeviceSpec.parse(text)


_SPECS = st.builds(DeviceSpec, st.sampled_from([None, "worker", "ps"]), st.sampled_from([None, 0]),
                   st.sampled_from([None, 0, 3]), st.sampled_from(["CPU", "GPU"]), st.sampled_from([None, 0, 1]))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(_SPECS, _SPECS, _SPECS)
def test_merging_is_associative_and_inner_parts_win(a, b, c):
    assert DeviceSpec.parse(str(a)) == a
    assert a.merged_into(b).merged_into(c) == a.merged_into(b.merged_into(c))
    assert a.matches(a.merged_into(b)) and DeviceSpec().matches(a)
    assert a.merged_into(DeviceSpec()) == a == DeviceSpec().merged_into(a)


# ---- scopes
def test_a_device_function_sees_the_operation_and_inner_scopes():
    seen = []

    def on_ps(op):
        seen.append((op.type, op.device))
        return "/job:ps/cpu:1" if op.type == "VariableV2" else DeviceSpec(job="worker")

    with rf.device(on_ps):
        with rf.device("/task:7"):
            v = rf.Variable(1.0)
            a = v + 1.0
    assert v.op.device == "/job:ps/task:7/device:CPU:1"
    assert a.device == "/job:worker/task:7"
    assert ("VariableV2", "/task:7") in seen


def test_colocation_beats_outer_device_scopes_and_adds_up():
    with rf.device("/cpu:1"):
        a = rf.constant(1.0, name="a")
    b = rf.constant(1.0, name="b")
    with rf.device("/cpu:0"):
        with rf.colocate_with(a):
            c = rf.constant(2.0)
            with rf.colocate_with(b):
                d = rf.constant(3.0)
            with rf.colocate_with(b, ignore_existing=True):
                e = rf.constant(3.0)
            with rf.colocate_with(None, ignore_existing=True):
                f = rf.constant(3.0)
        g = rf.constant(4.0)
    assert c.op.get_attr("_class") == ["loc:@a"] and c.device == "/device:CPU:1"
    assert d.op.get_attr("_class") == ["loc:@a", "loc:@b"] and d.device == "/device:CPU:1"
    assert e.op.get_attr("_class") == ["loc:@b"] and e.device == ""
    assert "_class" not in f.op.attrs and g.device == "/device:CPU:0"
    with rf.colocate_with(c):
        h = rf.constant(5.0)
    assert h.op.get_attr("_class") == ["loc:@a"]


# ---- sessions
def test_a_session_lists_its_devices():
    assert [(d.name, d.device_type) for d in rf.Session().list_devices()] == [(CPU0, "CPU")]
    config = rf.ConfigProto(device_count={"CPU": 2, "GPU": 0})
    first, second = rf.Session(config=config).list_devices(), rf.Session(config=config).list_devices()
    assert [d.name for d in first] == [CPU0, CPU1]
    assert {d.incarnation for d in first}.isdisjoint(d.incarnation for d in second)
    with pytest.raises(InvalidArgumentError, match=r"device_count\['CPU'\] must be at least 1"):
        rf.Session(config=rf.ConfigProto(device_count={"CPU": 0}))


def test_under_a_launcher_devices_are_those_of_the_rank(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    devices = local_devices({}, {"CPU": 60})
    assert [d.name for d in devices] == ["/job:worker/replica:0/task:3/device:CPU:0"]
    with rf.device("/job:worker"):
        a = rf.constant(1.0)
    with rf.device("/job:worker/task:2"):
        b = rf.constant(1.0)
    place(extract(rf.get_default_graph(), [a], [], [], []), devices, lambda op, device_type: True)
    with pytest.raises(InvalidArgumentError, match="task:2 but available"):
        place(extract(rf.get_default_graph(), [b], [], [], []), devices, lambda op, device_type: True)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["/gpu:0", "/cpu:7", "/job:ps/task:1"])
def test_a_device_that_is_not_there_is_an_error_unless_placement_is_soft(name, count):
    with rf.device(name):
        a = rf.Variable(np.ones(3, np.float32), name="a")
    full = str(DeviceSpec.parse(name))
    config = rf.ConfigProto(device_count={"CPU": count})
    with rf.Session(config=config) as session:
        with pytest.raises(InvalidArgumentError, match=rf"Cannot assign a device for operation a.*: it was explicitly "
                           rf"assigned to {full} but available devices are \[ {CPU0}.*test_devices.py"):
            session.run(a.initializer)
    config.allow_soft_placement = True
    with rf.Session(config=config) as session:
        session.run(a.initializer)
        np.testing.assert_array_equal(session.run(a), np.ones(3))


def test_log_device_placement_prints_a_line_for_each_node(capsys):
    a = rf.constant(1.0, name="a")
    with rf.Session(config=rf.ConfigProto(log_device_placement=True)) as session:
        session.run(rf.identity(a, name="b"))
    assert f"a: (Const): {CPU0}" in capsys.readouterr().err.splitlines()
