"""The benchmarks of several ranks: they run, and their lines say what they should."""
import json
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import two_ranks  # noqa: E402


def test_ratios_are_of_one_round_and_the_median_counts():
    rounds = [{"one_ms": 9.0, "apart_ms": 9.5, "two_ms": 10.0, "others": 0.0},
              {"one_ms": 18.0, "apart_ms": 19.0, "two_ms": 19.0, "others": 0.02},
              {"one_ms": 4.0, "apart_ms": 8.0, "two_ms": 8.0, "others": 0.01}]
    row = two_ranks.summary("mlp", rounds)
    assert row["kept"] == 0.9 and row["kept_range"] == [0.5, 0.947]
    assert row["machine"] == 0.947 and row["exchange"] == 1.0 and row["others"] == 0.02
    assert "met" in two_ranks.text(row) and "missed" in two_ranks.text({**row, "kept": 0.89})


def test_two_ranks_in_one_command():
    if len(two_ranks.os.sched_getaffinity(0)) < 2:
        pytest.skip("two cores are needed")
    ran = subprocess.run([sys.executable, str(BENCHMARKS / "two_ranks.py"), "tiny", "--rounds", "1", "--patience", "0",
                          "--seconds", "0.01"], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].split()[0] == "tiny"


def test_overlap_prints_both_parts(mpirun):
    ran = mpirun(2, BENCHMARKS / "overlap.py", "--layers", "2", "--width", "16", "--repetitions", "2", "--json")
    assert ran.returncode == 0, ran.stderr
    row = json.loads(ran.stdout.strip().splitlines()[-1])
    assert row["ranks"] == 2 and all(row[f"{part}_ms"] > 0 for part in ("forward", "compute", "exchange", "step"))


def test_bytes_between_hosts_are_checked_against_theory(mpirun):
    ran = mpirun(2, BENCHMARKS / "between_hosts.py", "--sizes", "64K", "--algorithms", "auto", "--repetitions", "2",
                 "--json")
    assert ran.returncode == 0, ran.stderr
    row = json.loads(ran.stdout.strip().splitlines()[-1])
    assert row["hosts"] == 1 and row["bytes"] == 65536 and row["ms"] > 0
