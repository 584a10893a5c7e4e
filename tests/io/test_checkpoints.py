"""SaveV2, RestoreV2 and MergeV2Checkpoints on both backends: TensorFlow's files, and every error path."""
import base64
import importlib.util
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.io.crc32c import crc32c
from ringflow.graph.ops.checkpoint import merge, restore, save

HAS_CORE = importlib.util.find_spec("ringflow._core") is not None
needs_core = pytest.mark.skipif(not HAS_CORE, reason="ringflow._core is not built")
backends = pytest.mark.parametrize("backend", [pytest.param("cpp", marks=needs_core), "reference"])

# What TensorFlow 2.21 wrote for VALUES (tf.raw_ops.SaveV2).
TENSORFLOW_INDEX = base64.b64decode("""
AAAGCAEaAggBAA0WAHJvd3MAAQECgIOAfwgCEggSAggDEgIIAiD8ASgwNS55njwJBBaDgoB/CAISCBICCAISAggCIKwCKCA1Inr9
8wAME2RlbnNlL2tlcm5lbAgBEggSAggCEgIIAygYNU3JwDcABRJmbGFncwgKEgQSAggCIPoBKAI1X7DOgQAEEm5vbmUIAhIGEgAS
AggEIPwBNdjqgqIABB5yb3dzCAISCBICCAUSAggCOgYKAhADCgA6CAoECAMQAgoAAAQNc3RlcAgJEgAgGCgINdzgTAoABRZ3b3Jk
cwgHEggSAggCEgIIAiAgKNoBNbXfj+sAAAAAAQAAAADW+P8KAAAAAAEAAAAAwPKhsAABA3gAgAIAAAAAAQAAAACfKpvRhQIIkgIP
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFf7gIskdUfb""")
TENSORFLOW_DATA = base64.b64decode("""
AAAAAAAAgD4AAAA/AABAPwAAgD8AAKA/+f////////8ABAXIAYGsQCNyaW5nAGZsb3d4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4
eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4
eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4
eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eAEAAAAAAAAAAAAAAAAAAADwPwAAAAAAAABAAAAAAAAACEAAAAAAAAAQQAAAAAAAABRA
AAAAAAAAGEAAAAAAAAAcQAAAAAAAACBAAAAAAAAAIkA=""")
ROWS = np.arange(10, dtype=np.float64).reshape(5, 2)
VALUES = [
    ("dense/kernel", "", np.arange(6, dtype=np.float32).reshape(2, 3) / 4),
    ("step", "", np.array(-7, np.int64)),
    ("words", "", np.array([[b"", b"ring"], [b"\0flow", b"x" * 200]], object)),
    ("flags", "", np.array([True, False])),
    ("none", "", np.zeros((0, 4))),
    ("rows", "5 2 0,3:-", ROWS[:3]),
    ("rows", "5 2 3,2:-", ROWS[3:]),
]


def constants(values):
    return [rf.constant(v, rf.as_dtype(v.dtype)) for v in values]


def run(backend, build):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        return session.run(build())


def write(backend, prefix, values):
    names, parts, tensors = zip(*values)
    run(backend, lambda: save(str(prefix), list(names), list(parts), constants(tensors)))


def read(backend, prefix, *wanted):
    """`wanted`: (name, dtype) or (name, dtype, part)."""
    wanted = [(*w, "")[:3] for w in wanted]
    return run(backend, lambda: restore(str(prefix), [w[0] for w in wanted], [w[2] for w in wanted],
                                        dtypes=[w[1] for w in wanted]))


@pytest.fixture
def saved(tmp_path):
    """A checkpoint that TensorFlow made."""
    (tmp_path / "m.index").write_bytes(TENSORFLOW_INDEX)
    (tmp_path / "m.data-00000-of-00001").write_bytes(TENSORFLOW_DATA)
    return tmp_path / "m"


@backends
def test_saving_gives_the_bytes_that_tensorflow_writes(backend, tmp_path):
    write(backend, tmp_path / "deep" / "m", VALUES)
    assert (tmp_path / "deep" / "m.index").read_bytes() == TENSORFLOW_INDEX
    assert (tmp_path / "deep" / "m.data-00000-of-00001").read_bytes() == TENSORFLOW_DATA
    assert len(os.listdir(tmp_path / "deep")) == 2


@backends
def test_restoring_reads_what_tensorflow_wrote(backend, saved):
    wanted = [(name, rf.as_dtype(v.dtype)) for name, part, v in VALUES if not part] + [("rows", rf.float64)]
    for got, expected in zip(read(backend, saved, *wanted), [v for _, part, v in VALUES if not part] + [ROWS]):
        assert got.dtype == expected.dtype and got.shape == expected.shape
        np.testing.assert_array_equal(got, expected)


@backends
def test_a_part_is_restored_across_the_slices_it_was_saved_in(backend, saved):
    got, whole, cut = read(backend, saved, ("rows", "float64", "5 2 2,2:1,1"), ("rows", "float64", "5 2 -:-"),
                           ("dense/kernel", "float32", "2 3 1,1:-"))
    np.testing.assert_array_equal(got, ROWS[2:4, 1:])
    np.testing.assert_array_equal(whole, ROWS)
    np.testing.assert_array_equal(cut, VALUES[0][2][1:])


@backends
@pytest.mark.parametrize("dtype", [d.name for d in rf.graph.dtypes.FIXED])
def test_every_dtype_comes_back_bit_for_bit(backend, dtype, tmp_path):
    kind = rf.as_dtype(dtype).as_numpy_dtype
    bits = np.random.default_rng(1).bytes(12 * kind.itemsize)
    value = np.frombuffer(bits, kind) if dtype != "bool" else np.arange(12) % 2 == 0
    value = value.reshape(3, 4)
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        x = rf.placeholder(dtype, [3, 4])
        session.run(save(str(tmp_path / "m"), ["x"], [""], [x]), {x: value})
    assert read(backend, tmp_path / "m", ("x", dtype))[0].tobytes() == value.tobytes()


@backends
def test_variables_are_saved_by_value_and_restored_by_assignment(backend, tmp_path):
    prefix = str(tmp_path / "m")
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        w = rf.Variable(np.full((4, 3), 2.0, np.float32), name="w")
        back = rf.assign(w, restore(prefix, ["w"], [""], dtypes=["float32"])[0])
        session.run(rf.global_variables_initializer())
        session.run(save(prefix, ["w"], [""], [w]))
        session.run(rf.assign_add(w, np.ones((4, 3), np.float32)))
        assert session.run(w)[0, 0] == 3
        session.run(back)
        assert session.run(w)[0, 0] == 2


@backends
def test_merging_gives_one_checkpoint_and_removes_the_parts(backend, tmp_path):
    parts = [tmp_path / "tmp" / f"part{k}" for k in range(2)]
    write(backend, parts[0], [VALUES[0], VALUES[5]])
    write(backend, parts[1], [VALUES[1], VALUES[6]])
    run(backend, lambda: merge([str(p) for p in parts], str(tmp_path / "m")))
    assert sorted(os.listdir(tmp_path)) == ["m.data-00000-of-00002", "m.data-00001-of-00002", "m.index"]
    step, rows = read(backend, tmp_path / "m", ("step", "int64"), ("rows", "float64"))
    assert step == -7
    np.testing.assert_array_equal(rows, ROWS)


@backends
def test_merging_keeps_folders_where_told_and_those_with_other_files(backend, tmp_path):
    write(backend, tmp_path / "a" / "p", [VALUES[0]])
    run(backend, lambda: merge([str(tmp_path / "a" / "p")], str(tmp_path / "m"), delete_old_dirs=False))
    assert (tmp_path / "a").is_dir()
    write(backend, tmp_path / "b" / "p", [VALUES[0]])
    (tmp_path / "b" / "other").write_text("mine")
    run(backend, lambda: merge([str(tmp_path / "b" / "p")], str(tmp_path / "n")))
    assert (tmp_path / "b" / "other").exists()


@backends
def test_merging_the_same_tensor_twice_is_refused(backend, tmp_path):
    for k in range(2):
        write(backend, tmp_path / f"p{k}", [VALUES[0]])
    with pytest.raises(rf.errors.InvalidArgumentError, match="dense/kernel"):
        run(backend, lambda: merge([str(tmp_path / f"p{k}") for k in range(2)], str(tmp_path / "m")))
    with pytest.raises(rf.errors.NotFoundError, match="p9"):
        run(backend, lambda: merge([str(tmp_path / "p9")], str(tmp_path / "m")))
    assert (tmp_path / "p0.index").exists()


# ---- errors
@backends
def test_a_missing_checkpoint_or_tensor_is_not_found(backend, saved, tmp_path):
    with pytest.raises(rf.errors.NotFoundError, match="no checkpoint is at"):
        read(backend, tmp_path / "none", ("step", "int64"))
    with pytest.raises(rf.errors.NotFoundError, match="Key bias not found in checkpoint"):
        read(backend, saved, ("bias", "float32"))
    os.remove(f"{saved}.data-00000-of-00001")
    with pytest.raises(rf.errors.NotFoundError, match="m.data-00000-of-00001"):
        read(backend, saved, ("step", "int64"))


@backends
def test_another_dtype_or_whole_shape_is_refused(backend, saved):
    with pytest.raises(rf.errors.InvalidArgumentError, match=r"step.*expected int32"):
        read(backend, saved, ("step", "int32"))
    with pytest.raises(rf.errors.InvalidArgumentError, match="must have the shape that its slice says"):
        read(backend, saved, ("rows", "float64", "6 2 0,3:-"))
    for text in ("5 2", "5 2 0,3", "5 2 4,2:-", "5 2 0,x:-"):
        with pytest.raises(rf.errors.InvalidArgumentError, match="shape_and_slices"):
            read(backend, saved, ("rows", "float64", text))


@backends
def test_what_cannot_be_saved_is_refused_and_leaves_nothing(backend, tmp_path):
    w = VALUES[0][2]
    for values, message in (([("a", "", w), ("a", "", w)], "came twice"), ([("", "", w)], "needs a name"),
                            ([("a", "2 3 0,1:-", w)], "must have the shape that its text says"),
                            ([("a", "4 3 0,2:-", w), ("a", "5 3 2,2:-", w)], "must agree"),
                            ([("a", "", w), ("a", "4 3 0,2:-", w)], "must agree")):
        with pytest.raises(rf.errors.InvalidArgumentError, match=message):
            write(backend, tmp_path / "m", values)
    assert os.listdir(tmp_path) == []


@backends
@pytest.mark.parametrize("at", [0, 30, 45, 80, 260, 331])
def test_a_changed_byte_of_the_data_is_data_loss_that_names_file_and_tensor(backend, at, saved):
    data = bytearray(TENSORFLOW_DATA)
    data[at] ^= 1
    (saved.parent / "m.data-00000-of-00001").write_bytes(data)
    with pytest.raises(rf.errors.DataLossError, match=r"(kernel|step|words|rows).*m\.data-00000-of-00001"):
        read(backend, saved, *((n, rf.as_dtype(v.dtype)) for n, _, v in VALUES[:6]))


@backends
def test_a_short_data_file_or_a_damaged_index_is_data_loss(backend, saved):
    (saved.parent / "m.data-00000-of-00001").write_bytes(TENSORFLOW_DATA[:-1])
    with pytest.raises(rf.errors.DataLossError, match="rows"):
        read(backend, saved, ("rows", "float64"))
    changed = TENSORFLOW_INDEX.replace(b"kernel", b"kernal")
    for bad in (b"", TENSORFLOW_INDEX[:-1], TENSORFLOW_INDEX[:100], b"x" * 200, changed):
        (saved.parent / "m.index").write_bytes(bad)
        with pytest.raises(rf.errors.DataLossError, match=r"m\.index"):
            read(backend, saved, ("step", "int64"))


FULL = """
import sys
import numpy as np
import ringflow as rf
from ringflow.graph.ops.checkpoint import save
with rf.Session(backend=sys.argv[2]) as session:
    big = rf.constant(np.ones(1 << 18, np.float32))
    try:
        session.run(save(sys.argv[1], ["big"], [""], [big]))
    except rf.errors.ResourceExhaustedError as e:
        print(e)
"""


@backends
def test_no_room_for_the_file_is_resource_exhausted_and_leaves_the_old_one(backend, tmp_path):
    write(backend, tmp_path / "m", VALUES)
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "m"), backend], capture_output=True, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19)), timeout=300)
    assert "m.data-00000-of-00001" in done.stdout, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["m.data-00000-of-00001", "m.index"]
    assert read(backend, tmp_path / "m", ("step", "int64"))[0] == -7


@backends
def test_a_folder_that_cannot_be_made_is_named(backend, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(rf.errors.FailedPreconditionError, match="file"):
        write(backend, tmp_path / "file" / "m", VALUES)


# ---- the checksum of the reference
def test_crc32c_of_long_data_equals_the_published_way_byte_by_byte():
    def plain(data, crc=0):
        crc ^= 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        return crc ^ 0xFFFFFFFF

    assert crc32c(b"123456789") == 0xE3069283
    data = np.random.default_rng(0).bytes(5003)
    assert crc32c(data) == plain(data)
    assert crc32c(data[100:], crc32c(data[:100])) == plain(data)

