"""Our op definitions and messages against TensorFlow's."""
import pathlib

from ringflow.graph.proto import bundle_pb2, event_pb2, example_pb2, graph_pb2, meta_graph_pb2, step_stats_pb2

OPS = pathlib.Path(__file__).resolve().parents[2] / "graph" / "ops" / "ops.pbtxt"


def test_definitions_of_shared_ops_agree_with_tensorflow(tensorflow):
    *differences, summary = tensorflow("compare_op_defs.py", OPS).splitlines()
    assert not differences, "\n".join(differences)
    assert int(summary.split()[0]) >= 200, summary


def test_messages_have_tensorflows_fields(tensorflow, tmp_path):
    paths = []
    for module in (graph_pb2, event_pb2, step_stats_pb2, meta_graph_pb2, bundle_pb2, example_pb2):
        paths.append(tmp_path / module.DESCRIPTOR.name.replace("/", "_"))
        paths[-1].write_bytes(module.DESCRIPTOR.serialized_pb)
    *differences, summary = tensorflow("compare_protos.py", *paths).splitlines()
    assert not differences, "\n".join(differences)
    assert int(summary.split()[0]) >= 40, summary
