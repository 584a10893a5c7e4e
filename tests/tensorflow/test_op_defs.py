"""Our op definitions against TensorFlow's."""
import pathlib

OPS = pathlib.Path(__file__).resolve().parents[2] / "graph" / "ops" / "ops.pbtxt"


def test_definitions_of_shared_ops_agree_with_tensorflow(tensorflow):
    *differences, summary = tensorflow("compare_op_defs.py", OPS).splitlines()
    assert not differences, "\n".join(differences)
    assert int(summary.split()[0]) >= 200, summary
