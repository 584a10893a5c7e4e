"""The examples as a user starts them: alone, under mpirun, inside a program that uses MPI; and what goes wrong."""
import gzip
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import ringflow as rf

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"
DIGITS = EXAMPLES / "digits.py"
sys.path.insert(0, str(EXAMPLES))
import datasets  # noqa: E402


def python(*args):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, str(DIGITS), *args], capture_output=True, text=True, timeout=120, env=env)


def accuracy_of(ran):
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return float(re.search(r"^test accuracy (0\.\d{4}|1\.0000)\s*$", ran.stdout, re.M).group(1))


def test_digits_reach_97_percent_on_one_rank():
    pytest.importorskip("sklearn")
    ran = python("--epochs", "15")
    assert accuracy_of(ran) >= 0.97
    assert re.search(r"step \d+/\d+ +loss \d\.\d{4} +[\d,]+ examples/s", ran.stdout)


def test_digits_reach_97_percent_on_two_ranks_with_equal_weights(mpirun):
    pytest.importorskip("sklearn")
    ran = mpirun(2, DIGITS, "--epochs", "15")
    assert accuracy_of(ran) >= 0.97
    assert re.search(r"^weights [0-9a-f]{16}: equal on all 2 ranks", ran.stdout, re.M)
    assert ran.stdout.count("test accuracy") == 1


def test_digits_inside_a_program_that_has_started_mpi(mpirun):
    pytest.importorskip("sklearn")
    ran = mpirun(2, f"""
from mpi4py import MPI
import runpy, sys
sys.path.insert(0, {str(EXAMPLES)!r})
sys.argv = ["digits.py", "--epochs", "1"]
runpy.run_path({str(DIGITS)!r}, run_name="__main__")
assert MPI.COMM_WORLD.allreduce(1) == 2
""")
    assert accuracy_of(ran) > 0.3 and "equal on all 2 ranks" in ran.stdout


# ---- IDX files
def write_idx(path, array):
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    (gzip.open if path.suffix == ".gz" else open)(path, "wb").write(data)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 64), ("t10k", 16)):
        labels = rng.integers(0, 10, n).astype(np.uint8)
        images = (rng.integers(0, 30, (n, 28, 28)) + labels[:, None, None] * 20).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels.idx1-ubyte", labels)
    return tmp_path


def test_idx_files_are_read_packed_or_not_under_either_name(folder):
    train_x, train_y, test_x, test_y = datasets.load(folder)
    assert train_x.shape == (64, 28, 28, 1) and train_x.dtype == np.float32 and 0 <= train_x.min() <= train_x.max() <= 1
    assert test_y.shape == (16,) and test_y.dtype == np.int32


def test_lenet_trains_on_28x28_images(folder):
    accuracy_of(python("--data", str(folder), "--epochs", "1", "--batch", "16"))


LABELS = "t10k-labels.idx1-ubyte"


@pytest.mark.parametrize("damage, message", [
    (lambda f: (f / LABELS).unlink(), "has no t10k-labels-idx1-ubyte"),
    (lambda f: (f / LABELS).write_bytes(b"\x89PNG"), "no IDX file of 1 dimensions: it begins with 89"),
    (lambda f: (f / LABELS).write_bytes(b""), "begins with nothing"),
    (lambda f: (f / "train-images-idx3-ubyte.gz").write_bytes(b"not packed"), "cannot be read"),
    (lambda f: write_idx(f / LABELS, np.zeros(15, np.uint8)), "16 images but 15 labels"),
    (lambda f: write_idx(f / LABELS, np.full(16, 10, np.uint8)), "has the label 10"),
    (lambda f: (f / LABELS).write_bytes((f / LABELS).read_bytes()[:-3]), "is truncated"),
])
def test_damaged_data_is_named_and_the_way_out_told(folder, damage, message):
    damage(folder)
    with pytest.raises(datasets.DataError, match=message):
        datasets.load(folder)


def test_wrong_folder_ends_with_one_line_and_no_traceback(tmp_path):
    ran = python("--data", str(tmp_path / "nowhere"))
    assert ran.returncode == 1 and "nowhere is not a folder. Fix:" in ran.stderr and "Traceback" not in ran.stderr


def test_missing_scikit_learn_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(datasets.DataError, match="pip install scikit-learn"):
        datasets.load()


# ---- shards
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_batch_is_the_same_set_for_any_number_of_ranks(size):
    whole = list(datasets.Shards(100, 24, 5, 0, 1).of_epoch(2))
    parts = [list(datasets.Shards(100, 24, 5, r, size).of_epoch(2)) for r in range(size)]
    for step, rows in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([p[step] for p in parts]), rows)
    assert len(whole) == 4 and len(set(np.concatenate(whole))) == 96


@pytest.mark.parametrize("batch, message", [(25, "multiple of 2"), (0, "multiple of 2"), (200, "more than the 100")])
def test_a_batch_that_cannot_be_shared_is_refused(batch, message):
    with pytest.raises(datasets.DataError, match=message):
        datasets.Shards(100, batch, 0, 0, 2)


def test_digits_on_two_ranks_log_one_file_with_a_loss_for_each_step(mpirun, tmp_path):
    pytest.importorskip("sklearn")
    ran = mpirun(2, DIGITS, "--epochs", "2", "--logdir", str(tmp_path / "logs"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    steps = int(re.search(r"step (\d+)/\1 ", ran.stdout).group(1))
    path, = (tmp_path / "logs").iterdir()
    events = list(rf.train.summary_iterator(str(path)))
    assert [e.step for e in events if e.summary.value] == list(range(1, steps + 1))
    assert any(e.graph_def for e in events) and events[-1].summary.value[0].tag == "loss"
