"""The kernel registry: priorities, dtypes, device types, and a session with a simulated device."""
import pytest

pytest.importorskip("ringflow._core")

import ringflow as rf
from ringflow.graph.errors import AlreadyExistsError, InvalidArgumentError
from ringflow.kernels import registry
from ringflow.kernels.registry import KernelDef


@pytest.fixture(autouse=True)
def simulated(monkeypatch):
    """A device type SIM for the length of a test."""
    monkeypatch.setattr(registry, "DEVICES", dict(registry.DEVICES))
    monkeypatch.setattr(registry, "_kernels", {k: list(v) for k, v in registry._kernels.items()})
    registry.register_device("SIM", 210)
    with rf.Graph().as_default():
        yield


def test_the_kernel_of_highest_priority_that_fits_is_found():
    op = rf.matmul(rf.constant([[1.0]]), rf.constant([[1.0]])).op
    slow = KernelDef("MatMul", "SIM")
    fast = KernelDef("MatMul", "SIM", "T", frozenset({rf.float16, rf.float32}), 1)
    registry.register(slow)
    assert registry.find(op, "SIM") is slow
    registry.register(fast)
    assert registry.find(op, "SIM") is fast
    double = rf.matmul(rf.constant([[1.0]], rf.float64), rf.constant([[1.0]], rf.float64)).op
    assert registry.find(double, "SIM") is slow
    assert [k.device_type for k in registry.kernels_of("MatMul")] == ["SIM", "SIM", "CPU"]
    assert registry.find(rf.tanh(op.outputs[0]).op, "SIM") is None


def test_two_kernels_of_equal_priority_for_one_node_are_an_error():
    registry.register(KernelDef("MatMul", "SIM", "T", frozenset({rf.float32})))
    registry.register(KernelDef("MatMul", "SIM", "T", frozenset({rf.float64})))
    with pytest.raises(AlreadyExistsError, match="two kernels of MatMul for SIM have priority 0"):
        registry.register(KernelDef("MatMul", "SIM", "T", frozenset({rf.float32, rf.int32})))
    with pytest.raises(AlreadyExistsError, match="SIM"):
        registry.register_device("SIM", 1)


def test_the_compiled_kernels_are_those_of_the_cpu():
    product = next(k for k in registry.kernels_of("MatMul") if k.device_type == "CPU")
    assert product.dtype_attr == "T" and {rf.float32, rf.float64} <= product.dtypes
    assert next(iter(registry.kernels_of("NoSuchOp")), None) is None


def test_a_session_has_devices_of_a_registered_type():
    with rf.device("/device:SIM:0"):
        a = rf.tanh(rf.constant(1.0), name="a")
    config = rf.ConfigProto(device_count={"SIM": 1})
    with rf.Session(config=config, backend="cpp") as session:
        assert [d.device_type for d in session.list_devices()] == ["SIM", "CPU"]
        with pytest.raises(InvalidArgumentError, match="operation a:.*SIM:0, where no kernel of Tanh exists"):
            session.run(a)
    with rf.Session(config=rf.ConfigProto(device_count={"SIM": 1}, allow_soft_placement=True)) as session:
        assert session.run(a) == pytest.approx(0.76159, abs=1e-5)
