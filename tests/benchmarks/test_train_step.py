"""The benchmark of training steps: its inputs, its JSON line, and its losses against those that PyTorch reached."""
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import ringflow as rf

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import step_timing  # noqa: E402
import workload_inputs as inputs  # noqa: E402
import workloads  # noqa: E402

# Losses of the first 8 steps on one rank, as PyTorch 2.13 printed them in eager mode.
PYTORCH = {
    "tiny": [1.82453, 0.88174, 1.67717, 0.80877, 1.25961, 0.18388, 0.74891, 0.62591],
    "mlp": [3.02754, 2.73312, 2.81497, 2.98654, 2.95352, 2.80054, 2.83501, 2.89435],
    "lenet": [3.55907, 2.91541, 4.64116, 3.68604, 3.38445, 4.02088, 3.04733, 4.92833],
    "resnet20": [4.22281, 3.96728, 3.60737, 3.2336, 3.08086, 3.01905, 2.76329, 2.96936],
    "lstm": [4.16012, 4.16013, 4.15916, 4.16015, 4.15929, 4.15973, 4.15935, 4.16078],
    "gpt": [6.48624, 6.55382, 6.41691, 6.3383, 6.35995, 6.33244, 6.32667, 6.3129],
    "embed": [0.69407, 0.69276, 0.69272, 0.69359, 0.69337, 0.69293, 0.69305, 0.69291],
}


@pytest.mark.parametrize("workload", PYTORCH)
def test_losses_equal_pytorch_s_and_the_line_is_complete(workload):
    ran = subprocess.run([sys.executable, str(BENCHMARKS / "train_step.py"), workload, "--seconds", "0.01"],
                         capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    line = json.loads(ran.stdout.strip().splitlines()[-1])
    np.testing.assert_allclose(line.pop("losses"), PYTORCH[workload], rtol=1e-3)
    assert line.pop("steps") >= 10 and 0 < line.pop("p10_ms") <= line.pop("median_ms")
    assert len(line["peak_mib"]) == 1 and line.pop("peak_mib")[0] > 20 and 0 < line.pop("cpu_share") < 1.5
    assert line.pop("cpu_ms") > 0
    assert line == {"framework": "ringflow", "workload": workload, "ranks": 1,
                    "versions": {"ringflow": rf.__version__}}


@pytest.mark.parametrize("workload", ["tiny", "mlp"])
def test_two_ranks_print_one_line(mpirun, workload):
    ran = mpirun(2, BENCHMARKS / "train_step.py", workload, "--seconds", "0.01")
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(text) for text in ran.stdout.splitlines() if text.startswith("{")]
    assert len(lines) == 1 and lines[0]["ranks"] == len(lines[0]["peak_mib"]) == 2
    assert lines[0]["losses"][0] == pytest.approx(PYTORCH[workload][0], rel=1e-3)
    assert lines[0]["losses"][1:] != PYTORCH[workload][1:]  # the other rank's gradients have their part


def test_ranks_have_their_own_batches_and_the_same_weights():
    (x0, _), (x1, _) = (inputs.batches("tiny", rank, 1)[0] for rank in (0, 1))
    assert not np.array_equal(x0, x1)
    first, again = inputs.initial_weights("gpt"), inputs.initial_weights("gpt")
    assert all(np.array_equal(first[k], again[k]) for k in first) and len(first) == 2 + 4 * 12 + 3


def test_weights_drawn_in_pieces_are_those_of_one_draw():
    name, first = next(inputs.weights("mlp"))
    whole = np.random.default_rng(1234).standard_normal(first.shape) * np.sqrt(2.0 / 784)
    assert name == "w1" and first.size > 2 * inputs.PIECE
    np.testing.assert_array_equal(first, whole.astype(np.float32))
    assert inputs.shapes("gpt") == {name: value.shape for name, value in inputs.weights("gpt")}


def test_the_workloads_that_are_timed_are_those_that_are_defined():
    assert list(step_timing.WORKLOADS) == list(workloads.WORKLOADS)
