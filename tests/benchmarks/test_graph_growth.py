"""The benchmark of growth measures graphs of the sizes it names, phase by phase."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks"))
import graph_growth  # noqa: E402


def test_sizes_double_and_every_phase_is_timed():
    rows = graph_growth.table(800)
    nodes = [row["nodes"] for row in rows]
    assert nodes[-1] == pytest.approx(800, rel=0.1) and nodes[0] == pytest.approx(100, rel=0.3)
    for row in rows:
        assert all(row[name] > 0 for name in ("build", "gradients", "write", "step"))
        assert row["total"] == pytest.approx(row["build"] + row["gradients"] + row["plan"])


def test_growth_is_the_exponent():
    rows = [{"nodes": 100, "plan": 1.0}, {"nodes": 200, "plan": 4.0}]
    assert graph_growth.growth(rows, "plan") == pytest.approx(2.0)
