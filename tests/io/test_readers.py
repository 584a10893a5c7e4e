"""Readers on both backends: what TensorFlow's give for the same files, waiting, sharing, errors and state."""
import gzip
import importlib.util
import threading
import zlib

import pytest
import ringflow as rf

HAS_CORE = importlib.util.find_spec("ringflow._core") is not None
needs_core = pytest.mark.skipif(not HAS_CORE, reason="ringflow._core is not built")
pytestmark = pytest.mark.parametrize("backend", [pytest.param("cpp", marks=needs_core), "reference"])

X = b"x" * 100
GZIP, ZLIB = rf.python_io.TFRecordOptions("GZIP"), rf.python_io.TFRecordOptions("ZLIB")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"h1\nh2\na\r\nb\rc\n\nlast")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes(b"x\n")
    (tmp_path / "fix").write_bytes(b"HH0123456789abcF")
    (tmp_path / "fix.z").write_bytes(zlib.compress(b"HH0123456789abcF"))
    (tmp_path / "fix.gz").write_bytes(gzip.compress(b"HH01234567") + gzip.compress(b"89abcF"))
    for name, options in (("t", None), ("tz", ZLIB), ("tg", GZIP)):
        with rf.python_io.TFRecordWriter(tmp_path / name, options) as w:
            for record in (b"one", b"", X):
                w.write(record)
    return tmp_path


def names_queue(session, folder, names):
    queue = rf.FIFOQueue(20, [rf.string], shapes=[[]])
    session.run(queue.enqueue_many([[str(folder / n) for n in names]]))
    session.run(queue.close())
    return queue


def fixed(**how):
    return lambda: rf.FixedLengthRecordReader(4, header_bytes=2, footer_bytes=1, **how)


# (reader, names, expected (key after the folder, value)): as TensorFlow 2.21 gives them
CASES = [
    (rf.TextLineReader, ["a.txt", "empty", "c.txt"],
     [("a.txt:1", b"h1"), ("a.txt:2", b"h2"), ("a.txt:3", b"a"), ("a.txt:4", b"b\rc"), ("a.txt:5", b""),
      ("a.txt:6", b"last"), ("c.txt:1", b"x")]),
    (lambda: rf.TextLineReader(skip_header_lines=2), ["a.txt", "empty", "c.txt"],
     [("a.txt:3", b"a"), ("a.txt:4", b"b\rc"), ("a.txt:5", b""), ("a.txt:6", b"last")]),
    (lambda: rf.FixedLengthRecordReader(5), ["fix"], [("fix:0", b"HH012"), ("fix:1", b"34567"), ("fix:2", b"89abc")]),
    (fixed(), ["fix"], [("fix:0", b"0123"), ("fix:1", b"4567"), ("fix:2", b"89ab")]),
    (fixed(hop_bytes=2), ["fix"], [(f"fix:{i}", b"0123456789ab"[2 * i:2 * i + 4]) for i in range(5)]),
    (fixed(hop_bytes=6), ["fix"], [("fix:0", b"0123"), ("fix:1", b"6789")]),
    (fixed(hop_bytes=6, encoding="ZLIB"), ["fix.z"], [("fix.z:0", b"0123"), ("fix.z:1", b"6789")]),
    (fixed(encoding="GZIP"), ["fix.gz"], [("fix.gz:0", b"0123"), ("fix.gz:1", b"4567"), ("fix.gz:2", b"89ab")]),
    (rf.TFRecordReader, ["t"], [("t:0", b"one"), ("t:19", b""), ("t:35", X)]),
    (lambda: rf.TFRecordReader(options=ZLIB), ["tz"], [("tz:0", b"one"), ("tz:19", b""), ("tz:35", X)]),
    (lambda: rf.TFRecordReader(options=GZIP), ["tg"], [("tg:0", b"one"), ("tg:19", b""), ("tg:35", X)]),
    (rf.WholeFileReader, ["c.txt", "empty"], [("c.txt", b"x\n"), ("empty", b"")]),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_reader_gives_every_record_once_then_out_of_range(backend, case, folder):
    make, names, expected = CASES[case]
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        reader, queue = make(), names_queue(session, folder, names)
        read = reader.read(queue)
        for key, value in expected:
            assert session.run(read) == (f"{folder}/{key}".encode(), value)
        with pytest.raises(rf.errors.OutOfRangeError, match="is closed and has insufficient elements"):
            session.run(read)
        assert session.run([reader.num_records_produced(), reader.num_work_units_completed()]) == [
            len(expected), len(names)]


def test_reading_up_to_n_stays_within_a_file(backend, folder):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        reader = rf.TextLineReader()
        keys, values = reader.read_up_to(names_queue(session, folder, ["a.txt", "empty", "c.txt"]), 4)
        assert keys.shape.as_list() == [None]
        assert [session.run(values).tolist() for _ in range(3)] == [
            [b"h1", b"h2", b"a", b"b\rc"], [b"", b"last"], [b"x"]]
        with pytest.raises(rf.errors.OutOfRangeError):
            session.run(values)


def test_a_run_waits_until_a_name_comes(backend, folder):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        queue = rf.FIFOQueue(1, [rf.string], shapes=[[]])
        read = rf.TextLineReader().read(queue)
        enqueue = queue.enqueue(str(folder / "c.txt"))
        got = []
        thread = threading.Thread(target=lambda: got.extend(session.run(read)))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        session.run(enqueue)
        thread.join(60)
        assert got == [f"{folder}/c.txt:1".encode(), b"x"]


def test_an_error_of_the_run_ends_reads_that_wait_for_a_name_or_a_turn(backend, folder):
    if backend == "reference":
        pytest.skip("runs one operation after the other")
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        queue = rf.FIFOQueue(1, [rf.string], shapes=[[]])
        reader = rf.TextLineReader()
        reads = [reader.read(queue) for _ in range(3)]
        x = rf.placeholder(rf.float32, [])
        with pytest.raises(rf.errors.InvalidArgumentError, match="not finite"):
            session.run([reads, rf.check_numerics(x, "not finite")], {x: float("nan")})
        session.run(queue.enqueue(str(folder / "c.txt")))
        assert session.run(reads[1])[1] == b"x"


def test_threads_that_read_from_one_reader_get_each_record_once(backend, tmp_path):
    lines = [[b"%d-%d" % (f, i) for i in range(50)] for f in range(8)]
    for f, content in enumerate(lines):
        (tmp_path / str(f)).write_bytes(b"\n".join(content))
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        _, value = rf.TextLineReader().read(names_queue(session, tmp_path, map(str, range(8))))
        found = []

        def run():
            try:
                while True:
                    found.append(session.run(value))
            except rf.errors.OutOfRangeError:
                pass

        threads = [threading.Thread(target=run) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert sorted(found) == sorted(line for content in lines for line in content)


def test_a_bad_file_is_left_and_the_next_one_read(backend, folder):
    (folder / "bad").write_bytes((folder / "t").read_bytes()[:25])
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        _, value = rf.TFRecordReader().read(names_queue(session, folder, ["none", "bad", "a.txt", "t"]))
        with pytest.raises(rf.errors.NotFoundError, match="none"):
            session.run(value)
        assert session.run(value) == b"one"
        with pytest.raises(rf.errors.DataLossError, match="bad' is damaged at byte 19"):
            session.run(value)
        with pytest.raises(rf.errors.DataLossError, match="a.txt"):
            session.run(value)
        assert [session.run(value) for _ in range(3)] == [b"one", b"", X]


def test_a_file_shorter_than_its_header_is_out_of_range(backend, folder):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        _, value = rf.FixedLengthRecordReader(2, header_bytes=5).read(names_queue(session, folder, ["c.txt"]))
        with pytest.raises(rf.errors.OutOfRangeError, match="header"):
            session.run(value)


def test_reset_leaves_the_file_and_counts_from_zero(backend, folder):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        reader = rf.TextLineReader()
        _, value = reader.read(names_queue(session, folder, ["a.txt", "c.txt"]))
        assert session.run(value) == b"h1"
        session.run(reader.reset())
        assert session.run(reader.num_records_produced()) == 0
        assert session.run(value) == b"x"


def test_state_goes_from_one_reader_to_another(backend, folder):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        first, second = rf.IdentityReader(), rf.IdentityReader()
        _, value = first.read(names_queue(session, folder, ["a", "b"]))
        session.run(value)
        state = session.run(first.serialize_state())
        session.run(second.restore_state(state))
        assert session.run(second.serialize_state()) == state
        assert session.run(second.num_records_produced()) == 1
        lines = rf.TextLineReader()
        for op in (lines.serialize_state(), lines.restore_state(state)):
            with pytest.raises(rf.errors.UnimplementedError, match="TextLineReaderV2"):
                session.run(op)
        with pytest.raises(rf.errors.InvalidArgumentError, match="ReaderRestoreState"):
            session.run(second.restore_state(b"\xff\xff"))


def test_the_queue_must_hold_strings(backend):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        read = rf.TextLineReader().read(rf.FIFOQueue(2, [rf.int32]))
        with pytest.raises(rf.errors.InvalidArgumentError, match="names of files"):
            session.run(read)


@pytest.mark.parametrize("make, message", [
    (lambda: rf.TextLineReader(skip_header_lines=-1), "skip_header_lines"),
    (lambda: rf.FixedLengthRecordReader(0), "record_bytes"),
    (lambda: rf.FixedLengthRecordReader(1, hop_bytes=-1), "hop_bytes"),
    (lambda: rf.TFRecordReader(options="SNAPPY"), "SNAPPY"),
])
def test_wrong_attrs_are_refused(backend, make, message):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        with pytest.raises(rf.errors.InvalidArgumentError, match=message):
            session.run(make().num_records_produced())


# ---- whole files
def test_files_are_written_whole_read_back_and_matched(backend, tmp_path):
    name = str(tmp_path / "deep" / "f1")
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        session.run(rf.write_file(name, b"a\0b"))
        session.run(rf.write_file(str(tmp_path / "deep" / "f2"), b""))
        assert session.run(rf.read_file(name)) == b"a\0b"
        found = session.run(rf.matching_files([str(tmp_path / "deep" / "f?"), str(tmp_path / "none*")]))
        assert found.tolist() == [str(tmp_path / "deep" / f).encode() for f in ("f1", "f2")]
        with pytest.raises(rf.errors.NotFoundError, match="none"):
            session.run(rf.read_file(str(tmp_path / "none")))
        with pytest.raises(rf.errors.FailedPreconditionError, match="f1"):
            session.run(rf.write_file(name + "/below", b""))


def test_a_file_is_read_again_by_every_run(backend, tmp_path):
    name = str(tmp_path / "f")
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        content, found = rf.read_file(name), rf.matching_files(name + "*")
        for i in range(2):
            (tmp_path / f"f{i}").write_bytes(b"")
            (tmp_path / "f").write_bytes(b"%d" % i)
            assert session.run(content) == b"%d" % i
            assert len(session.run(found)) == i + 2
