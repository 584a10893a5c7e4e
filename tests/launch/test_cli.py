"""The command line: what it prints, what it refuses in one line, and a benchmark under mpirun."""
import json
import re
import warnings

import pytest
from ringflow.collectives import loopback, tuning
from ringflow.graph import config
from ringflow.launch import bench, cli, doctor, measure, settings


def run(capsys, *words):
    """(exit code, stdout, stderr) of a command in this process."""
    try:
        code = cli.main(words)
    except SystemExit as e:
        code = e.code
    out = capsys.readouterr()
    return code, out.out, out.err


def test_config_prints_every_variable_with_its_value_default_unit_and_meaning(capsys, monkeypatch):
    monkeypatch.setenv("RINGFLOW_TIMEOUT_S", "7")
    code, out, _ = run(capsys, "config")
    assert code == 0
    for setting in config.SETTINGS.values():
        assert re.search(rf"^{setting.name} ", out, re.M)
        assert setting.unit in out and setting.meaning.split()[0] in out
    assert re.search(r"^RINGFLOW_TIMEOUT_S +7\* +600 ", out, re.M)


def test_config_names_a_variable_that_cannot_have_its_value(capsys, monkeypatch):
    monkeypatch.setenv("RINGFLOW_TIMEOUT_S", "soon")
    code, out, _ = run(capsys, "config")
    assert code == 1
    assert "RINGFLOW_TIMEOUT_S must be seconds > 0: received 'soon'" in out


@pytest.mark.parametrize("words, names", [
    (("bench", "allreduce", "--sizes", "4X"), ["--sizes", "4X", "with K, M, G"]),
    (("bench", "allreduce", "--sizes", "0"), ["--sizes"]),
    (("bench", "allreduce", "--iterations", "none"), ["--iterations", "none"]),
    (("bench", "allreduce", "--op", "median"), ["--op", "median", "sum"]),
    (("bench", "everything"), ["everything", "allreduce"]),
    (("bnch",), ["bnch", "doctor"]),
    ((), ["COMMAND"]),
    (("bench", "allreduce"), ["2 ranks", "mpirun -np 2"]),
])
def test_a_mistake_is_one_line_with_a_fix_and_exit_code_2(capsys, monkeypatch, words, names):
    monkeypatch.setattr(bench.worlds, "init", lambda: loopback_world_of_one())
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and "Fix: " in err
    assert all(name in err for name in names), err


def loopback_world_of_one():
    return loopback.run(1, lambda c: c)[0]


@pytest.mark.parametrize("words", [(), ("bench",), ("bench", "allreduce"), ("config",), ("doctor",)])
def test_every_command_has_help(capsys, words):
    code, out, _ = run(capsys, *words, "--help")
    assert code == 0
    assert "examples:" in out or words == ("bench",)


def test_sizes_are_read_with_binary_suffixes():
    assert bench.sizes("4K,64k,1M,2G,12,1MiB") == [4096, 65536, 1 << 20, 2 << 30, 12, 1 << 20]


def test_doctor_finds_the_installation_and_a_world_of_one(capsys, monkeypatch):
    monkeypatch.setattr(doctor.worlds, "init", loopback_world_of_one)
    _, out, _ = run(capsys, "doctor")
    for word in ("ringflow", "MPI built", "MPI runtime", "/dev/shm", "tuning", "cores", "1 rank"):
        assert word in out


def test_doctor_names_a_crowded_node(monkeypatch):
    monkeypatch.setattr(doctor.machine, "cores", lambda: [0])
    lines, problems = loopback.run(2, doctor.job)[0]
    assert sum(line.startswith("  rank ") for line in lines) == 2
    assert "2 ranks share 1 cores" in problems[0]


@pytest.mark.parametrize("op", measure_ops := ("sum", "mean", "prod", "min", "max"))
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint64"])
def test_the_benchmark_finds_no_wrong_element(op, dtype):
    if op == "mean" and dtype in ("int8", "uint64"):
        pytest.skip("the mean of integers is refused")

    def rank_main(world):
        return measure.compare(world, 5000, world.algorithms(), dtype=dtype, op=op, iterations=2, warmup=1)

    for timings in loopback.run(3, rank_main):
        assert {t.path for t in timings} == {measure.BUCKET, measure.ARRAY, measure.MEMCPY}
        assert [(t.wrong, len(t.times_us)) for t in timings] == [(0, 2)] * len(timings)


def test_the_benchmark_counts_wrong_elements():
    def rank_main(world):
        honest = world.native.barrier
        numbers = measure.Numbers(100, measure.np.dtype("float32"), "sum", world.rank, 2)
        c = measure._memcpy(100, measure.np.dtype("float32"), numbers)  # a copy is no sum
        c.check = numbers.wrong
        c.repeat(0, honest, numbers)
        return c.timing.wrong

    assert all(wrong > 80 * measure.calls_of(400) for wrong in loopback.run(2, rank_main))


def test_inputs_differ_by_rank_so_that_a_rank_counted_twice_shows():
    kind = measure.np.dtype("float64")
    for ranks in (2, 3, 8):
        inputs = []
        for r in range(ranks):
            numbers, x = measure.Numbers(200, kind, "sum", r, ranks), measure.np.empty(200)
            numbers.write(x, 4)
            inputs.append(x)
        assert numbers.wrong(sum(inputs), 4) == 0
        assert numbers.wrong(sum(inputs[:-1]) + inputs[0], 4) > 100
        assert numbers.wrong(sum(inputs), 5) > 100  # a stale result


SETUP = tuning.Setup(2, 2, "Open MPI v5.0.11", tuning.hosts_hash(["b", "a", "b"]))
KNOWN = ["one_pass", "ring", "tree"]


def test_a_tuned_table_is_found_again_by_its_setup(tmp_path):
    file = tmp_path / "new" / "allreduce.json"
    other = tuning.Setup(4, 2, "Open MPI v5.0.11", SETUP.hosts)
    tuning.save(SETUP, [(1024, "tree"), (tuning.NO_LIMIT, "ring")], {"load": 0.1}, file)
    tuning.save(other, [(tuning.NO_LIMIT, "tree")], None, file)
    tuning.save(SETUP, [(4096, "tree"), (tuning.NO_LIMIT, "ring")], None, file)
    assert tuning.load(SETUP, KNOWN, file) == [(4096, "tree"), (tuning.NO_LIMIT, "ring")]
    assert tuning.load(other, KNOWN, file) == [(tuning.NO_LIMIT, "tree")]
    assert tuning.load(tuning.Setup(3, 3, "MPICH 5", SETUP.hosts), KNOWN, file) is None
    assert len(json.loads(file.read_text())["entries"]) == 2
    assert [f.name for f in file.parent.iterdir()] == ["allreduce.json"]  # no temporary file is left


def test_no_table_is_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tuning.load(SETUP, KNOWN, tmp_path / "none.json") is None


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"schema": 9, "entries": []}', '{"schema": 1, "entries": [3]}', '{"schema": 1, "entries": [{}]}',
    '{"schema": 1, "entries": [{"setup": SETUP, "choices": [[1, "quantum"]]}]}',
    '{"schema": 1, "entries": [{"setup": SETUP, "choices": [[9, "ring"], [4, "tree"]]}]}',
    '{"schema": 1, "entries": [{"setup": SETUP, "choices": []}]}',
])
def test_a_corrupt_table_is_a_warning_and_ignored(tmp_path, text):
    file = tmp_path / "allreduce.json"
    file.write_text(text.replace("SETUP", json.dumps(tuning.asdict(SETUP))))
    with pytest.warns(UserWarning, match=r"\[tuning\].*is ignored.*Fix: "):
        assert tuning.load(SETUP, KNOWN, file) is None
    tuning.save(SETUP, [(tuning.NO_LIMIT, "ring")], None, file)  # and measuring again repairs it
    assert tuning.load(SETUP, KNOWN, file) == [(tuning.NO_LIMIT, "ring")]


def test_the_fastest_algorithm_is_chosen_up_to_half_way_to_the_next_size():
    times = {1024: {"tree": 1.0, "ring": 2.0}, 4096: {"tree": 2.0, "ring": 3.0}, 16384: {"tree": 9.0, "ring": 4.0}}
    assert tuning.choose(times) == [(8192, "tree"), (tuning.NO_LIMIT, "ring")]


def test_the_table_lies_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("RINGFLOW_TUNING_FILE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tuning.path() == tmp_path / "ringflow" / "allreduce.json"
    monkeypatch.setenv("RINGFLOW_TUNING_FILE", str(tmp_path / "mine.json"))
    assert tuning.path() == tmp_path / "mine.json"


BENCH = "import sys; from ringflow.launch.cli import main; sys.exit(main(sys.argv[1:]))"


def test_the_benchmark_under_mpirun_prints_columns_writes_json_and_tunes(mpirun, tmp_path):
    file, table = tmp_path / "times.jsonl", tmp_path / "table.json"
    done = mpirun(2, BENCH, "bench", "allreduce", "--sizes", "4K,1M", "--iterations", "5", "--json", str(file),
                  "--tune", RINGFLOW_TUNING_FILE=str(table))
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    names = {" ".join(row[2:-6]) for row in rows}
    assert {"one_pass bucket", "one_pass array", "MPI_Allreduce", "memcpy"} <= names
    assert [row[-3] for row in rows] == ["0"] * len(rows)  # #wrong
    for row in rows:
        nbytes, count, time_us, algbw, busbw = int(row[0]), int(row[1]), *row[-6:-3]
        assert count * 4 == nbytes
        assert float(algbw) == pytest.approx(nbytes / float(time_us) / 1e3, rel=0.02, abs=0.02)
        assert busbw in (algbw, "-")  # 2(P-1)/P is 1 for two ranks
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {r["bytes"] for r in records} == {4096, 1 << 20}
    for r in records:
        assert r["wrong"] == r["mpi_wrong"] == 0
        assert min(r["time_us"], r["mpi_us"], r["memcpy_us"]) > 0
        assert (r["ranks"], r["ranks_per_node"], r["nodes"]) == (2, 2, 1)
        assert r["algorithm"] and r["machine"] and r["version"] and "MPI" in r["mpi"] and "oversubscribed" in r
    entry, = json.loads(table.read_text())["entries"]
    assert entry["choices"][-1][0] == tuning.NO_LIMIT
    again = mpirun(2, "import ringflow as rf; w = rf.init(); print(w.allreduce(w.rank + 1))",
                   RINGFLOW_TUNING_FILE=str(table))
    assert again.returncode == 0 and again.stdout.split() == ["3", "3"], again.stderr


def test_a_wrong_size_under_mpirun_is_said_once(mpirun):
    done = mpirun(2, BENCH, "bench", "allreduce", "--sizes", "1Q")
    assert done.returncode == 2
    assert done.stderr.count("1Q") == 1 and "Traceback" not in done.stderr


def test_doctor_under_mpirun_has_a_line_for_each_rank(mpirun):
    done = mpirun(2, BENCH, "doctor")
    assert re.findall(r"^  rank (\d+)", done.stdout, re.M) == ["0", "1"], done.stderr
    assert "2 ranks, transport MPI" in done.stdout


def test_settings_and_bench_are_of_one_table():
    assert settings.describe()[1] == []
    assert set(measure_ops) == set(bench.OPS)
