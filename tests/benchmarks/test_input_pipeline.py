"""The benchmark of the input pipeline runs every variant to its end."""
import pathlib
import subprocess
import sys

BENCHMARK = pathlib.Path(__file__).resolve().parent.parent.parent / "benchmarks" / "input_pipeline.py"


def test_every_variant_reads_the_whole_file():
    ran = subprocess.run([sys.executable, str(BENCHMARK), "--megabytes", "1"], capture_output=True, text=True,
                         timeout=120)
    assert ran.returncode == 0, ran.stderr
    rows = [line.split()[0] for line in ran.stdout.splitlines()[1:]]
    assert rows == ["copy", "crc32c", "large", "small", "python", "graph", "batches"]
