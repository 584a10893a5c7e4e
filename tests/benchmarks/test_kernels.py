"""The benchmark of kernels, and with it the guard of their speed: each reaches its part of what the core can do.

Ratios of rates measured in turn in one process, the fastest of many short stretches, until a kernel has reached its
part: other work on the machine can delay that, not prevent it. What falls back to a scalar loop never reaches it.
"""
import json
import pathlib
import subprocess
import sys

import pytest

_core = pytest.importorskip("ringflow._core")
BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from kernel_limits import Limits, part_reached  # noqa: E402

import kernels  # noqa: E402

GUARDED = [case for case in kernels.CASES if case.least]
LIMITS = Limits(seconds=0.01)


@pytest.mark.parametrize("case", GUARDED, ids=str)
def test_a_kernel_reaches_its_part_of_the_limit(case):
    call, moved = kernels.prepared(case)
    least = case.least if kernels.processor.isa() != "baseline" else case.least / 2  # narrow vectors: more to do
    part = part_reached(call, case.flops, moved, least, LIMITS)
    assert part >= least, f"{case} reaches {part:.3f} of the limit, at least {least} is usual"


@pytest.mark.parametrize("times", [1, 4])
def test_the_guard_sees_what_takes_four_times_as_long(times):
    def work():
        for _ in range(times):
            _core.multiply_adds(8192)

    for _ in range(10):  # a limit that was measured while others were busy would be too low
        LIMITS.again()
        LIMITS.flops()
    enough, attempts = 0.4, 100 if times == 1 else 4
    assert (part_reached(work, _core.multiply_adds(8192), 0, enough, LIMITS, attempts) >= enough) == (times == 1)


def test_every_family_and_name_is_there_once():
    names = [str(case) for case in kernels.CASES]
    assert len(set(names)) == len(names)
    assert len({case.family for case in GUARDED}) >= 8


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["kernels.py", "64^3", "of columns", "--seconds", "0.002", *words])
        kernels.main()
        return capsys.readouterr().out.splitlines()
    return run


def test_figures_are_kept_and_compared_with(run, tmp_path):
    file = str(tmp_path / "before.json")
    about, *table = run("--json", file)
    assert "GFLOP/s" in about and "commit" in about
    with open(file) as f:
        rows = json.load(f)["rows"]
    assert [row["case"] for row in rows] == [line.split("  ")[0].strip() for line in table[1:]]
    assert all(row["us"] > 0 and row["of_limit"] > 0 for row in rows)
    product = rows[0]
    assert product["GFLOP/s"] == pytest.approx(2 * 64**3 / product["us"] / 1e3)
    for line, row in zip(run("--against", file)[2:], rows):
        assert 0 < float(line.split()[-1]) and line.startswith(row["case"])


def test_words_that_fit_no_case_are_refused():
    ran = subprocess.run([sys.executable, str(BENCHMARKS / "kernels.py"), "nonsense"], capture_output=True, text=True)
    assert ran.returncode == 2 and "Fix: --list" in ran.stderr
