"""How fast training data comes from storage: TFRecords read in C++, by a graph and by plain Python, against copying.

    python benchmarks/input_pipeline.py [--megabytes 256]

copy        the file (in the page cache) read into memory in pieces of 1 MiB: the limit
crc32c      the checksum of that much memory, by instruction; every byte read is also checked
large       records of 256 KiB through python_io.tf_record_iterator
small       records of 430 bytes through the same
python      the small records by a loop of plain Python: struct.unpack, read, no checksum
graph       the small records by TFRecordReader.read_up_to 1000 and parse_example (100 floats), in the main thread
batches     the same through shuffle_batch, two threads, batches of 128

Each is the best of 5, the variants one after the other in each round. Ratios are to the baseline named.
"""
from __future__ import annotations

import argparse
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import ringflow as rf
from ringflow import _core
from ringflow.launch import machine

MIB = 1 << 20
FLOATS = 100


def write(path: str, record: bytes, count: int) -> None:
    with rf.python_io.TFRecordWriter(path) as writer:
        for _ in range(count):
            writer.write(record)


def copy(path: str) -> int:
    buffer = bytearray(MIB)
    with open(path, "rb", buffering=0) as f:
        while f.readinto(buffer):
            pass
    return os.path.getsize(path)


def iterate(path: str) -> int:
    for _ in rf.python_io.tf_record_iterator(path):
        pass
    return os.path.getsize(path)


def plain_records(path: str) -> Iterator[bytes]:
    with open(path, "rb") as f:
        while head := f.read(12):
            yield f.read(struct.unpack_from("<Q", head)[0])
            f.read(4)


def plain(path: str) -> int:
    for _ in plain_records(path):
        pass
    return os.path.getsize(path)


def drain(path: str, threads: int) -> int:
    """The records through a graph, until the pipeline is at its end."""
    features = {"x": rf.FixedLenFeature([FLOATS], rf.float32)}
    with rf.Graph().as_default(), rf.Session() as session:
        names = rf.train.string_input_producer([path], num_epochs=1)
        _, records = rf.TFRecordReader().read_up_to(names, 1000)
        x = rf.parse_example(records, features)["x"]
        if threads:
            x = rf.train.shuffle_batch(x, 128, 20_000, 10_000, num_threads=threads, enqueue_many=True)
        session.run([rf.global_variables_initializer(), rf.local_variables_initializer()])
        coord = rf.train.Coordinator()
        running = rf.train.start_queue_runners(session, coord)
        step = session.make_callable(x.op)
        with coord.stop_on_exception():
            while not coord.should_stop():
                step()
        coord.join(running)
    return os.path.getsize(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256, help="size of each file")
    size = parser.parse_args().megabytes * MIB
    example = rf.train.Example()
    example.features.feature["x"].float_list.value.extend(np.arange(FLOATS, dtype=np.float32).tolist())
    record = example.SerializeToString()
    count = size // (len(record) + 16)
    with tempfile.TemporaryDirectory() as folder:
        large, small = str(Path(folder) / "large"), str(Path(folder) / "small")
        write(large, bytes(MIB // 4), size // (MIB // 4))
        write(small, record, count)
        memory = bytes(size)
        variants: dict[str, tuple[Callable[[], int], int, str]] = {
            "copy": (lambda: copy(large), 0, "copy"),
            "crc32c": (lambda: len(memory) + 0 * _core.crc32c(memory), 0, "copy"),
            "large": (lambda: iterate(large), 0, "copy"), "small": (lambda: iterate(small), count, "python"),
            "python": (lambda: plain(small), count, "python"), "graph": (lambda: drain(small, 0), count, "python"),
            "batches": (lambda: drain(small, 2), count, "python")}
        best = dict.fromkeys(variants, float("inf"))
        sizes = {}
        for _ in range(5):
            for name, (run, _, _) in variants.items():
                start = time.perf_counter()
                sizes[name] = run()
                best[name] = min(best[name], time.perf_counter() - start)
    print(f"{machine.processor()}, {os.cpu_count()} CPUs, {machine.commit() or 'installed'}, {size // MIB} MiB a file")
    for name, (_, records, baseline) in variants.items():
        ratio = best[baseline] / best[name]
        rate = f"{records / best[name]:12,.0f} records/s" if records else " " * 22
        print(f"{name:8} {sizes[name] / best[name] / 1e9:7.2f} GB/s {rate}  {ratio:5.2f} of {baseline}")


if __name__ == "__main__":
    main()
