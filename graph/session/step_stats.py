"""What a traced run leaves in a RunMetadata: when each node ran, on which thread and device, and what it gave.

A record of the runtime is (node, start ns, end ns, thread, outputs, op, inputs, device), times since the run began, an
output being (dtype name, shape, bytes). A node in a loop has one record for each iteration.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import as_dtype
from ..proto import step_stats_pb2 as pb

RunMetadata = pb.RunMetadata
DEFAULT_DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"

Call = tuple[str, int, int, int, Sequence[tuple[str, Sequence[int], int]], str, Sequence[str], str]


def record(calls: Sequence[Call], began_ns: int, run_metadata: Any) -> None:
    """Replaces the step statistics and the cost graph of `run_metadata` by those of one run that began `began_ns` after
    1970."""
    run_metadata.Clear()
    devices: dict[str, Any] = {}
    for call in calls:
        name = call[7] or DEFAULT_DEVICE
        if name not in devices:
            devices[name] = run_metadata.step_stats.dev_stats.add(device=name)
        device = devices[name]
        _node(call, began_ns, device.node_stats.add())
        if call[3] not in device.thread_names:
            device.thread_names[call[3]] = f"thread {call[3]}" if call[3] else "the calling thread"
    _costs(calls, run_metadata.cost_graph)


def _node(call: Call, began_ns: int, out: Any) -> None:
    name, start, end, thread, outputs, op, inputs, _ = call
    out.node_name = name
    out.timeline_label = f"{name} = {op}({', '.join(inputs)})"
    out.thread_id = thread
    out.all_start_nanos = out.scheduled_nanos = began_ns + start
    out.op_end_rel_nanos = out.all_end_rel_nanos = end - start
    out.all_start_micros = out.scheduled_micros = (began_ns + start) // 1000
    # Ends are rounded like starts, so that what follows does not overlap; less than 1 us still shows as 1.
    out.op_end_rel_micros = out.all_end_rel_micros = max((began_ns + end) // 1000 - out.all_start_micros, 1)
    total = 0
    for slot, (dtype, shape, nbytes) in enumerate(outputs):
        description = out.output.add(slot=slot).tensor_description
        description.dtype = as_dtype(dtype).enum
        description.shape.SetInParent()
        for size in shape:
            description.shape.dim.add(size=size)
        description.allocation_description.requested_bytes = nbytes
        description.allocation_description.allocated_bytes = nbytes
        description.allocation_description.allocator_name = "cpu"
        total += nbytes
    if total:
        out.memory.add(allocator_name="cpu", total_bytes=total, peak_bytes=total)


def _costs(calls: Sequence[Call], out: Any) -> None:
    """One node for all calls of a node: their times are added up, the outputs are those of the last."""
    ids: dict[str, int] = {}
    nodes: list[Any] = []
    spent: list[int] = []
    for name, start, end, _, outputs, _, _, device in calls:
        if name not in ids:
            ids[name] = len(nodes)
            nodes.append(out.node.add(name=name, device=device or DEFAULT_DEVICE, id=ids[name]))
            spent.append(0)
        spent[ids[name]] += end - start
        node = nodes[ids[name]]
        del node.output_info[:]
        for dtype, shape, nbytes in outputs:
            info = node.output_info.add(size=nbytes, alias_input_port=-1, dtype=as_dtype(dtype).enum)
            info.shape.SetInParent()
            for size in shape:
                info.shape.dim.add(size=size)
    joined: set[str] = set()
    for name, _, _, _, _, op, inputs, _ in calls:
        if name in joined:
            continue
        joined.add(name)
        node = nodes[ids[name]]
        node.compute_cost = node.compute_time = spent[ids[name]] // 1000
        node.is_final = op == "_Retval"
        for text in inputs:
            source, _, port = text.lstrip("^").partition(":")
            if source not in ids:
                continue  # a constant, say: nothing runs
            if text.startswith("^"):
                node.control_input.append(ids[source])
            else:
                node.input_info.add(preceding_node=ids[source], preceding_port=int(port or 0))
