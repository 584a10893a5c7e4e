"""What collectives take for an array, and where they put the result."""
import ctypes

import numpy as np
import pytest
from grid import BFLOAT16, from_bfloat16, to_bfloat16
from ringflow.collectives import loopback
from ringflow.graph.errors import InvalidArgumentError


class Foreign:
    """An array of another library: DLPack and nothing else."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **_):
        return self.x.__dlpack__()

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


class OnGpu(Foreign):
    def __dlpack_device__(self):
        return 2, 0


def test_out_is_filled_and_returned_whatever_its_layout():
    def body(comm):
        x = np.arange(12.0).reshape(3, 4) + comm.rank
        want = 3 * np.arange(12.0).reshape(3, 4) + 3
        for out in (np.empty((3, 4)), np.empty((4, 3)).T, np.empty((3, 8))[:, ::2], x):
            assert comm.allreduce(x, out=out) is out
            np.testing.assert_array_equal(out, want)
        bytes_ = bytearray(8 * 12 + 1)
        unaligned = np.frombuffer(bytes_, np.uint8)[1:].view(np.float64).reshape(3, 4)
        unaligned[...] = comm.rank
        comm.allreduce(unaligned, out=unaligned)
        np.testing.assert_array_equal(unaligned, 3)

    loopback.run(3, body)


def test_dlpack_and_buffers_are_taken_without_a_copy():
    def body(comm):
        x = np.full(5, comm.rank + 1, np.int32)
        np.testing.assert_array_equal(comm.allreduce(Foreign(x)), 3)
        foreign = Foreign(x)
        assert comm.allreduce(foreign, "max", out=foreign) is foreign
        np.testing.assert_array_equal(x, 2)  # in the other library's memory
        memory = (ctypes.c_int16 * 4)(*[comm.rank] * 4)
        np.testing.assert_array_equal(comm.allreduce(memory), 1)
        got = comm.allgather(bytes([comm.rank] * 2))
        np.testing.assert_array_equal(got, [0, 0, 1, 1])

    loopback.run(2, body)


def test_bfloat16_comes_back_as_it_came():
    def body(comm):
        record = to_bfloat16(np.full(9, comm.rank + 0.5))
        bits = record.view(np.uint16)
        for got in (comm.allreduce(record), comm.allreduce(bits, dtype="bfloat16").view(BFLOAT16),
                    comm.reduce_scatter(np.tile(bits, comm.size), dtype="bfloat16").view(BFLOAT16)):
            assert got.dtype == BFLOAT16
            np.testing.assert_array_equal(from_bfloat16(got), 2.0)
        assert comm.allreduce(bits, dtype="bfloat16").dtype == np.uint16

    loopback.run(2, body)


def test_ml_dtypes_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")

    def body(comm):
        got = comm.allreduce(np.full(9, comm.rank + 0.5, ml_dtypes.bfloat16))
        assert got.dtype == ml_dtypes.bfloat16 and (got == 2).all()

    loopback.run(2, body)


@pytest.mark.parametrize("call, rule", [
    (lambda c: c.allreduce(OnGpu(np.ones(3))), "in memory of the CPU: received DLPack device type 2"),
    (lambda c: c.allreduce(np.ones(3), out=np.ones(4)), r"out must be float64 of shape \(3,\): received float64 of"),
    (lambda c: c.allreduce(np.ones(3), out=np.ones(3, np.float32)), "out must be float64"),
    (lambda c: c.allreduce(np.ones(3), dtype="bfloat16"), "dtype may only say 'bfloat16', of uint16 bits"),
    (lambda c: c.allreduce(np.ones(3), algorithm="star"), "the algorithm must be one of auto, one_pass, ring"),
    (lambda c: c.allreduce(np.ones(3), algorithm="hierarchical"), "hierarchical is not usable on these 2 ranks"),
    (lambda c: c.set_selection([(None, "hierarchical")]), "hierarchical is not usable"),
    (lambda c: c.set_selection([(5, "ring"), (5, "tree")]), "the bytes must ascend"),
    (lambda c: c.reduce_scatter(np.ones(3), rows=[1, 1]), "rows must be 2 numbers with the sum 3"),
    (lambda c: c.alltoall(np.ones(3)), "rank 0 has no rows for each of 2 ranks"),
    (lambda c: c.split(-1), "the color must be >= 0 or None"),
])
def test_what_makes_no_sense_is_refused(call, rule):
    with pytest.raises(InvalidArgumentError, match=rule):
        loopback.run(2, call)


def test_the_table_chooses_by_bytes():
    def body(comm):
        comm.set_selection([(100, "tree"), (1000, "ring"), (None, "one_pass")])
        assert [comm.native.algorithm_for(n) for n in (0, 100, 101, 1000, 1001)] == \
            ["tree", "tree", "ring", "ring", "one_pass"]
        for n in (10, 100, 10000):
            assert (comm.allreduce(np.ones(n)) == 3).all()

    loopback.run(3, body)


@pytest.mark.parametrize("nodes, bytes_sent", [
    ((4,), {"one_pass": 0, "ring": 1.5, "tree": 1.5}), ((2, 2), {"hierarchical": 0.5, "ring": 1.5, "auto": 0.5}),
    ((1, 1), {"auto": 1.0, "halving_doubling": 1.0})])
def test_bytes_sent_are_those_of_the_algorithm(nodes, bytes_sent):
    ranks, n = sum(nodes), 2**18

    def body(comm):
        comm.allreduce(np.ones(0))
        seen = {}
        for algorithm in bytes_sent:
            before = comm.bytes_sent()
            comm.allreduce(np.ones(n, np.float32), algorithm=algorithm)
            seen[algorithm] = (comm.bytes_sent() - before) / (4 * n)
        return seen

    every = loopback.run(ranks, body, nodes=nodes)
    for algorithm, want in bytes_sent.items():
        assert np.mean([seen[algorithm] for seen in every]) == want


@pytest.mark.slow
def test_more_than_two_to_the_31_elements():
    n = 2**31 + 5
    free = int(next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable")).split()[1]) * 1024
    if free < 6 * n:
        pytest.skip(f"{6 * n >> 30} GiB of memory are needed")

    def body(comm):
        x = np.ones(n, np.int8)
        x[-1] = comm.rank + 5
        for algorithm in comm.algorithms():
            comm.allreduce(x, "max", algorithm, out=x)
            assert x[0] == 1 and x[2**31 - 1] == 1 and x[2**31 + 3] == 1 and x[-1] == 6, algorithm

    loopback.run(2, body, timeout_s=600)
