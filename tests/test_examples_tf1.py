"""The TensorFlow 1 scripts in examples/tf1: each runs alone and shows that it has learned."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "examples" / "tf1"

# script -> what it prints at the end, and the least or most that the number may be
LEARNED = {
    "linear_regression": (r"slope (\S+)", 2.9, 3.1),
    "kmeans": (r"mean squared distance (\S+) \(", 1.8, 2.4),
    "control_flow": (r"sqrt\(9\) = (\S+)", 3, 3),
    "logistic_regression": (r"^Accuracy: (\S+)", 0.94, 1),
    "nearest_neighbor": (r"^Accuracy: (\S+)", 0.96, 1),
    "multilayer_perceptron": (r"^Accuracy: (\S+)", 0.95, 1),
    "convolutional_network": (r"^Testing Accuracy: (\S+)", 0.95, 1),
    "recurrent_network": (r"^Testing Accuracy: (\S+)", 0.9, 1),
    "dynamic_rnn": (r"^Testing Accuracy: (\S+)", 0.95, 1),
    "bidirectional_rnn": (r"^Testing Accuracy: (\S+)", 0.97, 1),
    "autoencoder": (r"^test error (\S+),", 0, 0.035),
    "word2vec": (r"^Neighbours of the same topic: (\S+)", 0.8, 1),
    "wide_deep": (r"^Testing Accuracy: (\S+)", 0.8, 0.95),
    "csv_input": (r"^largest error of a weight (\S+)", 0, 0.02),
    "queue_input": (r"^Testing Accuracy: (\S+)", 0.94, 1),
}
QUICK = ("linear_regression", "kmeans", "control_flow", "csv_input")


def test_every_script_is_tested_and_in_the_readme():
    scripts = {p.stem for p in SCRIPTS.glob("*.py")} - {"digits_data"}
    assert scripts == set(LEARNED)
    readme = (SCRIPTS / "README.md").read_text()
    assert not [s for s in scripts if f"`{s}.py`" not in readme]


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LEARNED])
def test_script_learns(name):
    text = (SCRIPTS / f"{name}.py").read_text()
    if "digits_data" in text:
        pytest.importorskip("sklearn")
    assert "import ringflow as tf" in text and "tensorflow" not in text
    ran = subprocess.run([sys.executable, str(SCRIPTS / f"{name}.py")], capture_output=True, text=True, timeout=120,
                         env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pattern, least, most = LEARNED[name]
    found = re.search(pattern, ran.stdout, re.M)
    assert found, ran.stdout
    assert least <= float(found.group(1)) <= most, ran.stdout
