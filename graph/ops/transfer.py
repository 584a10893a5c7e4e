"""Tensors on their way between devices: what passes/devices/partition.py puts where an edge crosses.

A `_Send` leaves its input under a key of the run's rendezvous, from where the `_Recv` of that key takes it. The key is
``send_device;incarnation;recv_device;tensor_name;frame:iteration``. With `client_terminated` the other end is the
caller of the session: the feeds and fetches of a partial run.
"""
from __future__ import annotations

from typing import Any

from ..define import Array, attr, define
from ..dtypes import float32
from ..errors import InvalidArgumentError
from ..interpreter import State
from ..operation import Operation
from ..samples import normal
from ..shapes import UNKNOWN, TensorShape

_ENDS: dict[str, Any] = {
    "tensor_name": attr("string"), "send_device": attr("string"), "send_device_incarnation": attr("int"),
    "recv_device": attr("string"), "client_terminated": False,
}


def key_of(op: Operation) -> str:
    """What a `_Send` and its `_Recv` have in common, outside of loops."""
    a = op.attrs
    return (f"{a['send_device']};{a['send_device_incarnation'] & (1 << 64) - 1:016x};{a['recv_device']};"
            f"{a['tensor_name']};0:0")


@define("_Send(tensor: T)", T=attr("type"), stateful=True, differentiable=False, **_ENDS)
def send(tensor: Array, *, op: Operation, state: State) -> None:
    """Leaves `tensor` for the `_Recv` of the same key, once a run."""
    state.containers.setdefault("_rendezvous", {})[key_of(op)] = tensor


_SAMPLE: dict[str, Any] = {"tensor_name": "edge_0_x", "send_device": "/device:CPU:0", "send_device_incarnation": 1,
                           "recv_device": "/device:CPU:1"}
send.sample(normal(2, 3), **_SAMPLE)


def _received_shape(op: Operation) -> list[TensorShape]:
    shapes = op.attrs.get("_output_shapes")
    return [shapes[0] if shapes else UNKNOWN]


@define("_Recv() -> tensor: tensor_type", tensor_type=attr("type"), stateful=True, differentiable=False,
        shape=_received_shape, **_ENDS)
def recv(*, op: Operation, state: State) -> Array:
    """tensor = what the `_Send` of the same key leaves; waits for it. Shape: that which was sent."""
    sent: dict[str, Array] = state.containers.get("_rendezvous", {})
    if key_of(op) not in sent:
        raise InvalidArgumentError(f"[_Recv] nothing was sent as {key_of(op)!r}", op.name)
    return sent.pop(key_of(op))


recv.sample(tensor_type=float32, **_SAMPLE)

__all__: list[str] = []
