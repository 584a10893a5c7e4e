"""TensorFlow reads our checkpoints, and we read its (sharded, in slices)."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.ops.checkpoint import restore, save

ROWS = np.arange(60, dtype=np.float64).reshape(20, 3)


@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_we_read_a_sharded_checkpoint_of_partitioned_variables(tensorflow, backend, tmp_path):
    prefix = str(tmp_path / "deep" / "m")
    tensorflow("checkpoint.py", "write", prefix)
    names = ["net/w", "net/rows", "net/words", "net/half", "net/rows"]
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        w, rows, words, half, cut = session.run(restore(
            prefix, names, ["", "", "", "", "20 3 5,10:1,2"],
            dtypes=["float32", "float64", "string", "bfloat16", "float64"]))
    np.testing.assert_array_equal(w, np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_array_equal(cut, ROWS[5:15, 1:])
    assert words.tolist() == [b"a", b"\0", b"long" * 100]
    assert half["bfloat16"].tolist() == [0x3FC0, 0xC000]


@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_tensorflow_reads_many_tensors_in_slices_and_strings(tensorflow, backend, tmp_path):
    names = [f"layer{i}/kernel" for i in range(200)] + ["rows", "rows", "words"]
    parts = [""] * 200 + ["20 3 0,7:-", "20 3 7,13:-", ""]
    tensors = [np.full((2, i % 5), i, np.float32) for i in range(200)] + [ROWS[:7], ROWS[7:]]
    words = [b"", b"x" * 300, b"\xff"]
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        session.run(save(str(tmp_path / "m"), names, parts, [*map(rf.constant, tensors[:200]),
                         *(rf.constant(t, rf.float64) for t in tensors[200:]), rf.constant(words, rf.string)]))
    lines = tensorflow("checkpoint.py", "read", tmp_path / "m").splitlines()
    assert f"rows float64 (20, 3) {ROWS.tolist()}" in lines
    assert f"words object (3,) {words}" in lines
    for i in range(200):
        assert f"layer{i}/kernel float32 (2, {i % 5}) {tensors[i].tolist()}" in lines
