"""TensorFlow as a judge: scripts of this folder run by a Python that has it, the one in RINGFLOW_TENSORFLOW_PYTHON.

Where that is not set and this Python has no TensorFlow, the tests that need it are skipped, visibly.
"""
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def tensorflow():
    """A function that runs a script of this folder with arguments, and returns what it prints."""
    python = os.environ.get("RINGFLOW_TENSORFLOW_PYTHON")
    if python is None and importlib.util.find_spec("tensorflow") is not None:
        python = sys.executable
    if python is None:
        pytest.skip("there is no TensorFlow: set RINGFLOW_TENSORFLOW_PYTHON to a Python that has it")

    def run(script, *arguments, timeout_s=240):
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
        env.pop("PYTHONPATH", None)
        done = subprocess.run([python, str(HERE / script), *map(str, arguments)], env=env, text=True,
                              capture_output=True, timeout=timeout_s)
        assert done.returncode == 0, done.stdout + done.stderr[-4000:]
        return done.stdout

    return run
