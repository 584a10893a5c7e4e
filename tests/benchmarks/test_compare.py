"""The comparison with other frameworks: its figures, tables and messages, with peers that only print a line."""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import pytest

COMPARE = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "compare"
sys.path[:0] = [str(COMPARE), str(COMPARE.parent)]
import frameworks  # noqa: E402
import results  # noqa: E402
import running  # noqa: E402
import table  # noqa: E402

LOSSES = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
TINY = [1.82453, 0.88174, 1.67717, 0.80877, 1.25961, 0.18388, 0.74891, 0.62591]  # what ringflow reaches


def line(ms, mib=(100.0,), losses=LOSSES, share=1.0, framework="torch"):
    return {"framework": framework, "workload": "mlp", "ranks": len(mib), "steps": 10, "median_ms": ms, "p10_ms": ms,
            "losses": losses, "peak_mib": list(mib), "cpu_share": share, "cpu_ms": ms, "versions": {framework: "1.2"}}


def interpreter(folder, *, prints="", missing=False, fails=False, sleeps=0):
    """An executable that stands for a Python with a peer: asked to import it does or does not, else it prints."""
    path = folder / f"python{len(list(folder.iterdir()))}"
    path.write_text(f"""#!{sys.executable}
import sys, time
if sys.argv[1] == "-c":
    sys.exit("ModuleNotFoundError: No module named 'peer'" if {missing} else 0)
time.sleep({sleeps})
print("warming up")
print({prints!r})
sys.exit("the peer's last words" if {fails} else 0)
""")
    path.chmod(0o755)
    return path


def compare(*arguments):
    return subprocess.run([sys.executable, str(COMPARE), *map(str, arguments)], capture_output=True, text=True,
                          timeout=120)


def whole(rows, **more):
    return {"machine": {"machine": "A processor, 2 cores", "governor": "performance", "load": 0.1, "commit": "abc",
                        "date": "2030-01-01"},
            "versions": {"torch": "1.2"}, "workloads": rows, "mean": results.mean(rows), "left_out": {},
            "failures": [], "settings": {"ranks": 1, "rounds": 2, "seconds": 1.0, "cores": "0-1"}, **more}


def test_figures_are_medians_over_the_rounds_and_the_best_peer_is_the_fastest():
    row = results.of_workload("mlp", 1, {
        "ringflow": [line(t, [m]) for t, m in ((2.0, 50), (9.0, 60), (3.0, 52))],
        "torch": [line(t, [200]) for t in (4.0, 5.0, 99.0)],
        "jax": [line(t, [150]) for t in (6.0, 6.0, 6.0)]})
    assert [run["ms"] for run in row["runs"]] == [3.0, 5.0, 6.0]
    assert (row["best_peer"], row["ratio"], row["aim"], row["met"]) == ("torch", round(5 / 3, 3), 1.05, True)
    assert (row["smallest_peer"], row["memory_ratio"], row["memory_met"]) == ("jax", round(150 / 52, 3), True)


def test_a_peer_with_other_losses_is_marked_and_does_not_count():
    near, far = [loss * 1.0009 for loss in LOSSES], [*LOSSES[:-1], LOSSES[-1] * 1.0011]
    row = results.of_workload("mlp", 1, {"ringflow": [line(2.0)], "torch": [line(3.0, losses=near)],
                                         "jax": [line(1.0, losses=far)], "tensorflow": [line(1.0, losses=LOSSES[:7])]})
    assert [run["same_losses"] for run in row["runs"]] == [True, True, False, False]
    assert row["best_peer"] == "torch" and row["ratio"] == 1.5
    text = table.text(whole([row]))
    assert "LOSSES DIFFER: mlp, jax:" in text and "LOSSES DIFFER: mlp, torch" not in text and "1.000!" in text


def test_a_nan_is_not_the_same_loss():
    assert not results.same_losses([float("nan")], [1.0]) and not results.same_losses([1.0], [float("nan")])


def test_memory_of_ranks_is_the_largest_and_the_sum():
    row = results.of_workload("lenet", 2, {"ringflow": [line(1.0, [10, 30])], "torch": [line(1.2, [40, 41])]})
    assert [(run["peak_mib"], run["peak_sum_mib"]) for run in row["runs"]] == [(30, 40), (41, 81)]
    text = table.text(whole([row]))
    assert row["aim"] == 1.1 and row["met"] and "of the largest rank" in text and "all ranks together" in text


def test_aims_are_printed_as_met_or_not():
    rows = [results.of_workload(name, 1, {"ringflow": [line(1.0)], "torch": [line(ms)]})
            for name, ms in (("tiny", 3.9), ("lenet", 1.1))]
    lines = table.text(whole(rows)).splitlines()
    assert next(text for text in lines if text.startswith("tiny")).endswith("4.00  not met")
    assert next(text for text in lines if text.startswith("lenet")).endswith("1.10  met")
    assert any(text.startswith("geometric mean of 2: 2.07") for text in lines)  # the aim is one of all seven


def test_the_mean_of_all_workloads_has_an_aim():
    rows = [results.of_workload(name, 1, {"ringflow": [line(1.0)], "torch": [line(1.5)]}) for name in results.AIMS]
    assert results.mean(rows) == {"ratio": 1.5, "of": 7, "aim": 1.45, "met": True}
    assert results.mean([]) == {"ratio": None, "of": 0, "aim": None, "met": None}


def test_runs_that_shared_their_core_or_used_another_are_marked():
    row = results.of_workload("mlp", 1, {"ringflow": [line(1.0)], "torch": [line(2.0, share=0.6)],
                                         "jax": [line(2.5, share=1.8)]})
    text = table.text(whole([row]))
    assert "2.000~" in text and "2.500~" not in text and "CPU milliseconds a step" in text
    assert "MORE THAN ONE THREAD: mlp, jax: 1.8" in text


def test_without_ringflow_or_peers_there_is_no_ratio():
    for lines in ({"ringflow": [], "torch": [line(1.0)]}, {"ringflow": [line(1.0)], "torch": []}):
        row = results.of_workload("mlp", 1, lines)
        assert row["ratio"] is None and row["met"] is None
        assert "mlp" in table.text(whole([row]))


@pytest.mark.parametrize("text", ["pytorch=python3", "torch", "torch="])
def test_a_peer_that_is_no_kind_is_refused_with_the_kinds(text):
    with pytest.raises(argparse.ArgumentTypeError, match="KIND=PYTHON with a kind of torch, .*horovod"):
        frameworks.peer(text)


def test_commands_are_those_a_user_would_type(tmp_path):
    torch = frameworks.peer("torch-last=/a/python")
    assert torch.command("lenet", 2.0, 1)[0] == "/a/python"
    assert torch.command("lenet", 2.0, 1)[2:] == ["lenet", "--seconds", "2.0", "--channels-last"]
    assert torch.command("lenet", 2.0, 2)[1:4] == ["-m", "torch.distributed.run", "--standalone"]
    assert torch.command("lenet", 2.0, 2)[4:6] == ["--nproc-per-node", "2"]
    assert torch.runs("resnet20", 2) and not torch.runs("gpt", 1)  # no images: the same program as torch
    mpirun = tmp_path / "mpirun"
    mpirun.write_text("#!/bin/sh\n")
    mpirun.chmod(0o755)
    horovod = frameworks.peer(f"horovod={tmp_path}/python").command("mlp", 2.0, 2)
    assert horovod[:5] == [str(mpirun), "-np", "2", "--bind-to", "none"] and horovod[-1] == "--horovod"
    assert "has no program for 2 ranks" in frameworks.peer("jax=/a/python").missing(2)


def test_a_program_that_fails_is_named_with_the_tail_of_its_stderr(tmp_path):
    with pytest.raises(running.Failed, match="(?s)ended with 1.*the peer's last words"):
        running.run([str(interpreter(tmp_path, fails=True))] + ["x"], core=None, timeout_s=60)
    with pytest.raises(running.Failed, match="printed no line of JSON"):
        running.run([str(interpreter(tmp_path, prints="{no json")), "x"], core=None, timeout_s=60)
    with pytest.raises(running.Failed, match="had not ended after 0.2 s"):
        running.run([str(interpreter(tmp_path, sleeps=60)), "x"], core=None, timeout_s=0.2)
    with pytest.raises(running.Failed, match="did not start"):
        running.run([str(tmp_path / "nothing")], core=None, timeout_s=60)


def test_programs_run_on_their_core_with_one_thread():
    program = "import os, json; print(json.dumps([os.environ['OMP_NUM_THREADS'], *os.sched_getaffinity(0)]))"
    core = min(os.sched_getaffinity(0))
    with pytest.raises(running.Failed):  # a list is not a line
        running.run([sys.executable, "-c", program], core=core, timeout_s=60)
    found = running.run([sys.executable, "-c", program.replace("[os", "{'a': [os").replace("(0)]", "(0)]}")],
                        core=core, timeout_s=60)
    assert found == {"a": ["1", core]}


def test_the_command_compares_writes_and_reads_its_results(tmp_path):
    good = interpreter(tmp_path, prints=json.dumps(line(1e6, [1e6], TINY, framework="torch")))
    missing, failing = interpreter(tmp_path, missing=True), interpreter(tmp_path, fails=True)
    ran = compare("tiny", "--rounds", 1, "--seconds", 0.01, "--json", tmp_path / "r.json", "--peer", f"torch={good}",
                  "--peer", f"jax={missing}", "--peer", f"tensorflow={failing}", "--peer", f"torch-last={good}")
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert f"{missing} cannot import optax: ModuleNotFoundError" in ran.stderr and "pip install jax optax" in ran.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert set(found) == {"machine", "versions", "settings", "workloads", "mean", "left_out", "failures"}
    assert {"machine", "commit", "date", "governor", "load"} <= set(found["machine"])
    assert found["versions"]["torch"] == "1.2" and "ringflow" in found["versions"]
    assert list(found["left_out"]) == ["jax"]
    assert [(f["workload"], f["framework"]) for f in found["failures"]] == [("tiny", "tensorflow")]
    assert "the peer's last words" in found["failures"][0]["why"]
    (row,) = found["workloads"]
    assert [run["framework"] for run in row["runs"]] == ["ringflow", "torch"]  # torch-last: only where there are images
    assert row["best_peer"] == "torch" and row["met"] and row["memory_met"]
    again = compare("--from", tmp_path / "r.json")
    assert again.returncode == 0 and again.stdout == ran.stdout


def test_other_losses_make_the_command_fail(tmp_path):
    other = interpreter(tmp_path, prints=json.dumps(line(1.0, losses=LOSSES)))
    ran = compare("tiny", "--rounds", 1, "--seconds", 0.01, "--peer", f"torch={other}")
    assert ran.returncode == 1 and "LOSSES DIFFER: tiny, torch" in ran.stdout


def test_wrong_arguments_say_what_there_is():
    ran = compare("alexnet")
    assert ran.returncode == 2 and "no workload alexnet: there are tiny, mlp" in ran.stderr
    ran = compare("--peer", "caffe=python3")
    assert ran.returncode == 2 and "torch-compile" in ran.stderr


def test_results_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [results.of_workload(name, 1, {"ringflow": [line(1.0, [50])], "torch": [line(1.5)], "jax": [line(0.8)]})
            for name in ("tiny", "gpt")]
    (tmp_path / "r.json").write_text(json.dumps(whole(rows)))
    for name in ("r.png", "r.svg"):
        ran = compare("--from", tmp_path / "r.json", "--plot", tmp_path / name)
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"
    drawn = (tmp_path / "r.svg").read_text()
    assert drawn.count("<path") > 20 and "<svg" in drawn
