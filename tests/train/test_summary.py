"""Summaries and event files, read back with the reader that is part of the project."""
import os
import subprocess
import sys
import textwrap
import threading
import zlib

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ringflow.graph.graph import GraphKeys
from ringflow.graph.proto import graph_pb2, step_stats_pb2
from ringflow.train import event_file

pytestmark = pytest.mark.usefixtures("graph")


def values(events):
    """{tag: [(step, value message), ...]} of all summaries."""
    found = {}
    for event in events:
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value))
    return found


def test_scalars_histograms_and_images_come_back_from_the_file(tmp_path):
    x = rf.placeholder(rf.float32, [None], name="x")
    pictures = rf.placeholder(rf.uint8, [2, 3, 5, 1])
    rf.summary.scalar("loss", rf.reduce_mean(x))
    rf.summary.histogram("weights", x)
    rf.summary.image("input", pictures, max_outputs=2)
    merged = rf.summary.merge_all()
    pixels = np.arange(30, dtype=np.uint8).reshape(2, 3, 5, 1)
    with rf.Session() as session, rf.summary.FileWriter(str(tmp_path), session.graph) as writer:
        for step in range(3):
            feeds = {x: np.array([1, 2, step], np.float32), pictures: pixels}
            writer.add_summary(session.run(merged, feeds), step)
    events = list(rf.train.summary_iterator(writer.path))
    assert events[0].file_version == "brain.Event:2"
    nodes = {n.name: n for n in graph_pb2.GraphDef.FromString(events[1].graph_def).node}
    assert nodes["x"].attr["_output_shapes"].list.shape[0].dim[0].size == -1
    assert "_output_dtypes" not in nodes["x"].attr
    found = values(events)
    assert [(s, v.simple_value) for s, v in found["loss"]] == [(s, pytest.approx((3 + s) / 3)) for s in range(3)]
    last = found["weights"][2][1].histo
    assert (last.min, last.max, last.num, last.sum, last.sum_squares) == (1, 2, 3, 5, 9)
    assert sum(last.bucket) == 3 and len(last.bucket) == len(last.bucket_limit)
    image = found["input/image/1"][0][1].image
    assert (image.height, image.width, image.colorspace) == (3, 5, 1)
    png = image.encoded_image_string
    assert png.startswith(b"\x89PNG") and _pixels(png, 3, 5) == pixels[1].tobytes()


def _pixels(png, height, width):
    at, data = 8, b""
    while at < len(png):
        size = int.from_bytes(png[at:at + 4], "big")
        if png[at + 4:at + 8] == b"IDAT":
            data += png[at + 8:at + 8 + size]
        at += size + 12
    rows = zlib.decompress(data)
    return b"".join(rows[i * (width + 1) + 1:(i + 1) * (width + 1)] for i in range(height))


def test_tags_hold_scopes_and_families_and_stay_unique():
    with rf.name_scope("tower"):
        a = rf.summary.scalar("loss", 1.0)
        b = rf.summary.scalar("loss", 1.0)
        c = rf.summary.scalar("odd name!", 1.0, family="train")
    with rf.Session() as session:
        tags = [next(iter(values([rf.summary.Event(summary=rf.summary.Summary.FromString(s))])))
                for s in session.run([a, b, c])]
    assert tags == ["tower/loss", "tower/loss_1", "train/tower/train/odd_name_"]


def test_merge_takes_the_summaries_of_a_collection_or_a_scope():
    assert rf.summary.merge_all() is None
    with rf.name_scope("a"):
        rf.summary.scalar("x", 1.0)
    rf.summary.scalar("y", 2.0)
    rf.summary.scalar("hidden", 3.0, collections=["other"])
    all_of_them, scope = rf.summary.merge_all(), rf.summary.merge_all(scope="a/")
    assert len(rf.get_collection(GraphKeys.SUMMARIES)) == 2
    with rf.Session() as session:
        both, one = (rf.summary.Summary.FromString(s) for s in session.run([all_of_them, scope]))
    assert [v.tag for v in both.value] == ["a/x", "y"] and [v.tag for v in one.value] == ["a/x"]
    with pytest.raises(InvalidArgumentError, match="at least one summary"):
        rf.summary.merge([])


def test_flushed_events_are_readable_after_the_process_is_killed(tmp_path):
    program = f"""
        import os, signal
        import ringflow as rf
        writer = rf.summary.FileWriter({str(tmp_path)!r})
        for step in range(50):
            writer.add_summary(rf.summary.Summary(value=[rf.summary.Summary.Value(tag="a", simple_value=step)]), step)
        writer.flush()
        writer.add_summary(rf.summary.Summary(value=[rf.summary.Summary.Value(tag="a", simple_value=9)]), 50)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=300)
    path, = tmp_path.iterdir()
    assert [s for s, _ in values(event_file.summary_iterator(str(path)))["a"]][:50] == list(range(50))


def test_events_are_written_when_the_program_ends_without_closing(tmp_path):
    program = f"""
        import ringflow as rf
        writer = rf.summary.FileWriter({str(tmp_path)!r})
        writer.add_summary(rf.summary.Summary(value=[rf.summary.Summary.Value(tag="a", simple_value=1)]), 7)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=300, check=True)
    path, = tmp_path.iterdir()
    assert [s for s, _ in values(event_file.summary_iterator(str(path)))["a"]] == [7]


def test_events_older_than_flush_secs_are_in_the_file(tmp_path):
    with rf.summary.FileWriter(str(tmp_path), flush_secs=0.05) as writer:
        writer.add_summary(rf.summary.Summary(), 3)
        seen = threading.Event()
        for _ in range(1200):
            if [e.step for e in event_file.summary_iterator(writer.path)] == [0, 3]:
                seen.set()
                break
            seen.wait(0.05)
        assert seen.is_set()


def test_many_threads_add_to_one_writer(tmp_path):
    with rf.summary.FileWriter(str(tmp_path), max_queue=2) as writer:
        def add(first):
            for step in range(first, first + 50):
                writer.add_summary(rf.summary.Summary(), step)

        threads = [threading.Thread(target=add, args=(100 * i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    steps = [e.step for e in event_file.summary_iterator(writer.path)][1:]
    assert sorted(steps) == [100 * i + k for i in range(4) for k in range(50)]


def test_a_closed_writer_refuses_events_and_reopens_into_a_new_file(tmp_path):
    writer = rf.summary.FileWriter(str(tmp_path))
    first = writer.path
    writer.close()
    writer.close()
    with pytest.raises(FailedPreconditionError, match=r"is closed. Fix: call reopen\(\)"):
        writer.add_summary(rf.summary.Summary())
    writer.reopen()
    writer.add_summary(rf.summary.Summary(), 1)
    writer.close()
    assert writer.path != first and len(os.listdir(tmp_path)) == 2
    assert [e.step for e in event_file.summary_iterator(writer.path)] == [0, 1]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_raised_by_the_next_call(tmp_path, monkeypatch):
    with rf.summary.FileWriter(str(tmp_path)) as writer:
        writer._events._file.close()
        writer._events._file = open("/dev/full", "wb")
        writer.add_summary(rf.summary.Summary())
        with pytest.raises(OSError, match="No space left"):
            writer.flush()
        with pytest.raises(OSError, match="No space left"):
            writer.add_summary(rf.summary.Summary())
        with pytest.raises(OSError, match="No space left"):
            writer.close()


def test_the_cache_gives_one_writer_a_directory(tmp_path):
    writer = rf.summary.FileWriterCache.get(str(tmp_path))
    assert rf.summary.FileWriterCache.get(str(tmp_path)) is writer
    rf.summary.FileWriterCache.clear()
    assert rf.summary.FileWriterCache.get(str(tmp_path)) is not writer
    rf.summary.FileWriterCache.clear()


@pytest.mark.parametrize("call, says", [
    (lambda w: w.add_summary("loss"), "must be bytes or a Summary message: received str"),
    (lambda w: w.add_summary(b"\xff\xff"), "are no Summary"),
    (lambda w: w.add_graph(3), "needs an rf.Graph: received int"),
    (lambda w: w.add_run_metadata(None, "step"), "must be an rf.RunMetadata: received NoneType"),
    (lambda w: [w.add_run_metadata(step_stats_pb2.RunMetadata(), "step 1") for _ in range(2)], "'step 1'.* is taken"),
])
def test_what_is_no_event_is_refused(tmp_path, call, says):
    with rf.summary.FileWriter(str(tmp_path)) as writer, pytest.raises(InvalidArgumentError, match=says):
        call(writer)


def test_the_reader_stops_at_a_cut_record_and_refuses_a_changed_one(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    records = [event_file.frame(rf.summary.Event(step=s).SerializeToString()) for s in (1, 2, 3)]
    whole = b"".join(records)
    for cut in range(len(records[0] + records[1]), len(whole)):
        path.write_bytes(whole[:cut])
        assert [e.step for e in event_file.summary_iterator(str(path))] == [1, 2]
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1:])
        with pytest.raises(DataLossError, match="damaged"):
            list(event_file.summary_iterator(str(path)))
    path.write_bytes(event_file.frame(b"\xff\xff\xff"))
    with pytest.raises(DataLossError, match="is no Event"):
        list(event_file.summary_iterator(str(path)))
    with pytest.raises(NotFoundError, match="cannot be read"):
        list(event_file.summary_iterator(str(tmp_path / "none")))


def test_the_checksum_is_that_of_rfc_3720():
    masked = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E}
    for data, crc in masked.items():
        expected = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert event_file.masked_crc32c(data) == expected
