"""`ringflow ops`, and the definitions as text that graph/ops/ops.pbtxt holds."""
import json
import pathlib

import pytest
from google.protobuf import text_format
from ringflow import _core
from ringflow.graph.files.op_list import op_list, op_list_text, public_ops
from ringflow.graph.opdef import OPS
from ringflow.graph.proto import graph_pb2 as pb
from ringflow.launch import cli

PBTXT = pathlib.Path(__file__).resolve().parents[2] / "graph" / "ops" / "ops.pbtxt"


def test_ops_pbtxt_is_what_the_definitions_say():
    written = text_format.Parse(PBTXT.read_text(), pb.OpList())
    stale = {op.name for op in written.op} ^ {op.name for op in public_ops()}
    assert not stale, f"ops.pbtxt is stale: {sorted(stale)}. Fix: make ops"
    for a, b in zip(written.op, op_list().op):
        assert a == b, f"{a.name} in ops.pbtxt is stale. Fix: make ops"


def test_a_definition_as_text_holds_arguments_attrs_and_flags():
    text = op_list_text([OPS["ApplyAdam"], OPS["ConcatV2"], OPS["VarHandleOp"]])
    adam, concat, handle = text_format.Parse(text, pb.OpList()).op
    assert adam.input_arg[0].is_ref and not adam.input_arg[9].is_ref
    assert not adam.is_stateful and handle.is_stateful
    assert concat.input_arg[0].number_attr == "N"
    default = {a.name: a.default_value for a in concat.attr}["Tidx"]
    assert default.type == pb.DT_INT32
    assert {a.name: list(a.allowed_values.list.type) for a in concat.attr}["Tidx"] == [pb.DT_INT32, pb.DT_INT64]


def test_ops_lists_each_op_with_its_kernels_and_gradient(capsys):
    assert cli.main(["ops", "--json"]) == 0
    rows = {row["op"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {op.name for op in public_ops()} and len(rows) > 200
    matmul = rows["MatMul"]
    assert (matmul["cpu"], matmul["gpu"], matmul["gradient"]) == ("yes", "-", "yes")
    assert matmul["dtypes"] == dict(_core.kernels())["MatMul"]
    assert rows["ArgMax"]["gradient"] == "none" and rows["Placeholder"]["cpu"] == "plan"


@pytest.mark.parametrize("pattern, found", [
    ("conv2d", {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "DepthwiseConv2dNative",
                "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"}),
    ("matmul", {"MatMul", "BatchMatMulV2"}), ("Conv?D", {"Conv2D"}),
])
def test_ops_takes_part_of_a_name_or_a_pattern(capsys, pattern, found):
    assert cli.main(["ops", pattern, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| op | cpu | gpu | gradient | dtypes |"
    assert {line.split()[1] for line in lines[2:] if line.startswith("|")} == found


def test_ops_names_near_ones_where_nothing_fits(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["ops", "MatMulX"])
    assert exit.value.code == 2
    err = capsys.readouterr().err
    assert "'MatMulX'" in err and "Near: MatMul" in err and err.count("\n") == 1
