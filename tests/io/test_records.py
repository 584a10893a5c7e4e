"""TFRecord files outside of graphs: rf.python_io, and the reference's reader of them."""
import base64
import gzip
import threading

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.io.crc32c import crc32c
from ringflow.graph.io.record import frame, records

RECORDS = [b"one", b"", b"x" * 100, bytes(range(256)) * 3000]
# What TensorFlow's TFRecordWriter wrote for b"ring" and b"".
TENSORFLOW = base64.b64decode("BAAAAAAAAABCRVIEcmluZxIcS60AAAAAAAAAACkDmAfY6oKi")


def write(path, items, options=None):
    with rf.python_io.TFRecordWriter(path, options) as writer:
        for item in items:
            writer.write(item)


@pytest.mark.parametrize("kind", ["", "ZLIB", "GZIP"])
def test_records_come_back_in_order_from_both_readers(kind, tmp_path):
    write(tmp_path / "r", RECORDS, kind)
    assert list(rf.python_io.tf_record_iterator(tmp_path / "r", kind)) == RECORDS
    assert [r for _, r in records(str(tmp_path / "r"), kind)] == RECORDS


def test_files_are_byte_for_byte_tensorflows(tmp_path):
    write(tmp_path / "r", [b"ring", b""])
    assert (tmp_path / "r").read_bytes() == TENSORFLOW == frame(b"ring") + frame(b"")


def test_gzip_members_one_after_the_other_are_one_file(tmp_path):
    (tmp_path / "r").write_bytes(gzip.compress(frame(b"a") + frame(b"b")[:3]) + gzip.compress(frame(b"b")[3:]))
    assert list(rf.python_io.tf_record_iterator(tmp_path / "r", "GZIP")) == [b"a", b"b"]


@pytest.mark.parametrize("kind", ["", "ZLIB"])
def test_what_is_flushed_can_be_read_before_the_file_is_closed(kind, tmp_path):
    writer = rf.python_io.TFRecordWriter(tmp_path / "r", kind)
    writer.write(b"a")
    writer.flush()
    assert next(rf.python_io.tf_record_iterator(tmp_path / "r", kind)) == b"a"
    writer.close()
    writer.close()
    with pytest.raises(rf.errors.FailedPreconditionError, match="closed"):
        writer.write(b"b")


def test_every_cut_of_a_file_gives_its_whole_records_then_data_loss(tmp_path):
    data = frame(b"ring") + frame(b"flow")
    for size in range(len(data)):
        (tmp_path / "r").write_bytes(data[:size])
        for reader in (rf.python_io.tf_record_iterator(tmp_path / "r"), (r for _, r in records(str(tmp_path / "r")))):
            found = []
            if size in (0, 20):
                found = list(reader)
            else:
                at = size // 20 * 20
                with pytest.raises(rf.errors.DataLossError, match=rf"r' is damaged at byte {at}: truncated"):
                    found.extend(reader)
            assert found == [b"ring", b"flow"][: size // 20]


def test_every_changed_bit_of_a_file_is_data_loss(tmp_path):
    data = frame(b"ring")
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "r").write_bytes(changed)
        for reader in (rf.python_io.tf_record_iterator(tmp_path / "r"), records(str(tmp_path / "r"))):
            with pytest.raises(rf.errors.DataLossError, match="at byte 0"):
                list(reader)


def test_a_file_of_another_compression_is_data_loss(tmp_path):
    write(tmp_path / "r", RECORDS)
    for kind in ("ZLIB", "GZIP"):
        with pytest.raises(rf.errors.DataLossError, match="cannot be decompressed"):
            list(rf.python_io.tf_record_iterator(tmp_path / "r", kind))
        write(tmp_path / kind, RECORDS, kind)
        with pytest.raises(rf.errors.DataLossError, match="TFRecord"):
            list(rf.python_io.tf_record_iterator(tmp_path / kind))
        (tmp_path / "cut").write_bytes((tmp_path / kind).read_bytes()[:-20])
        with pytest.raises(rf.errors.DataLossError, match="cut short"):
            list(rf.python_io.tf_record_iterator(tmp_path / "cut", kind))


def test_wrong_arguments_and_missing_files_are_refused(tmp_path):
    with pytest.raises(rf.errors.NotFoundError, match="none"):
        rf.python_io.tf_record_iterator(tmp_path / "none")
    with pytest.raises(rf.errors.NotFoundError, match="none/r"):
        rf.python_io.TFRecordWriter(tmp_path / "none" / "r")
    with pytest.raises(rf.errors.InvalidArgumentError, match="SNAPPY"):
        rf.python_io.TFRecordOptions("SNAPPY")
    with pytest.raises(rf.errors.InvalidArgumentError, match="level"):
        rf.python_io.TFRecordWriter(tmp_path / "r", rf.python_io.TFRecordOptions("GZIP", 12))
    with rf.python_io.TFRecordWriter(tmp_path / "r") as writer, pytest.raises(TypeError, match="must be bytes"):
        writer.write("text")


def test_threads_that_share_a_writer_write_whole_records(tmp_path):
    with rf.python_io.TFRecordWriter(tmp_path / "r") as writer:
        threads = [threading.Thread(target=lambda k=k: [writer.write(b"%d" % k * 1000) for _ in range(200)])
                   for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    found = list(rf.python_io.tf_record_iterator(tmp_path / "r"))
    assert len(found) == 800 and set(found) == {b"%d" % k * 1000 for k in range(4)}


def test_both_crc32c_agree():
    from ringflow import _core

    data = np.random.default_rng(3).bytes(100_003)
    for size in (0, 1, 7, 8, 100, 4095, 4096, 100_003):
        assert _core.crc32c(data[:size]) == crc32c(data[:size])
        assert _core.crc32c(data[:size], 12345) == crc32c(data[:size], 12345)
