"""The correctness grid, as functions of a communicator: the same bodies run on loopback threads and under mpirun.

`python grid.py [--nodes 0,0,1,1] [--full]` is one rank of such a run. Inputs differ by rank and position, with results
that are exact in every dtype, so that a rank counted twice or a chunk out of place cannot pass.
"""
import argparse
import functools

import numpy as np

BFLOAT16 = np.dtype([("bfloat16", "<u2")])
INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
DTYPES = [np.float32, np.float64, np.float16, BFLOAT16, *INTEGERS, np.bool_]
SIZES = [0, 1, 7, 1000, 2**16 + 3, 2**22]
FEW_SIZES, FEW_DTYPES = [0, 1, 1000, 2**16 + 3], [np.float32, BFLOAT16, np.bool_]
OPS = ["sum", "min", "max", "prod", "mean"]


@functools.lru_cache(maxsize=64)
def contribution(rank, size, dtype=np.int64):
    """Small integers: the rank and the position decide, so no two ranks look alike."""
    x = (np.arange(size) * (2 * rank + 3)) % 5 + rank + 1
    return to_bfloat16(x) if dtype == BFLOAT16 else (x % 3 > 0) if dtype == np.bool_ else x.astype(dtype)


def to_bfloat16(x):
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(BFLOAT16)  # to nearest even


def from_bfloat16(x):
    return (x.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


@functools.lru_cache(maxsize=8)
def exact(p, size, op):
    """In int64, from which every dtype's result follows."""
    if op in ("any", "all"):
        every = np.stack([contribution(r, size, np.bool_) for r in range(p)])
        return every.any(0) if op == "any" else every.all(0)
    every = np.stack([contribution(r, size) for r in range(p)])
    return {"sum": every.sum, "min": every.min, "max": every.max, "prod": every.prod}[op](0)


def expected(p, size, dtype, op):
    """None where the op has no meaning for the dtype, or no exact result."""
    if dtype == np.bool_:
        return None if op == "mean" else exact(p, size, "any" if op in ("sum", "max") else "all")
    narrow = dtype in (np.float16, BFLOAT16)
    if op == "mean":
        if dtype in INTEGERS:
            return None
        wide = np.float32 if narrow else dtype  # 16-bit floats are reduced in float32
        y = exact(p, size, "sum").astype(wide) / wide(p)
        return to_bfloat16(y) if dtype == BFLOAT16 else y.astype(dtype)
    if op == "prod" and narrow:
        return None
    y = exact(p, size, op)
    return to_bfloat16(y) if dtype == BFLOAT16 else y.astype(dtype)


def check_allreduce(comm, sizes=FEW_SIZES, dtypes=FEW_DTYPES, algorithms=None):
    """How many allreduces were compared."""
    count = 0
    for algorithm in algorithms or ["auto", *comm.algorithms()]:
        for size in sizes:
            for dtype in dtypes:
                mine = contribution(comm.rank, size, dtype)
                before = mine.copy()
                for op in OPS:
                    want = expected(comm.size, size, dtype, op)
                    if want is None:
                        continue
                    got = comm.allreduce(mine, op, algorithm)
                    assert got.dtype == dtype and got.shape == (size,), (got.dtype, dtype)
                    label = f"{op} {np.dtype(dtype)} {size} {algorithm} rank {comm.rank}/{comm.size}"
                    twice_rounded = op == "mean" and np.dtype(dtype).itemsize == 2 and len(set(comm.native.nodes)) > 1
                    if twice_rounded and dtype == BFLOAT16:
                        np.testing.assert_allclose(from_bfloat16(got), from_bfloat16(want), rtol=2**-7, err_msg=label)
                    elif twice_rounded:
                        np.testing.assert_allclose(got, want, rtol=2**-10, err_msg=label)
                    else:
                        assert np.array_equal(got, want), label
                    count += 1
                assert np.array_equal(mine, before), "the input was changed"
    return count


def check_special_values(comm):
    x = np.zeros(5, np.float32)
    if comm.rank == comm.size - 1:
        x[:] = [np.nan, np.inf, -np.inf, -0.0, np.finfo(np.float32).tiny / 4]
    long = np.tile(x, 5000)
    for algorithm in ["auto", *comm.algorithms()]:
        for op in ("sum", "min", "max", "mean", "prod"):
            for array in (x, long, x.astype(np.float64), x.astype(np.float16), to_bfloat16(x)):
                got = comm.allreduce(array, op, algorithm)
                first = from_bfloat16(got)[0] if array.dtype == BFLOAT16 else got[0]
                assert np.isnan(first), f"{op} by {algorithm} lost a NaN of {array.dtype}"
        np.testing.assert_array_equal(comm.allreduce(x, "sum", algorithm)[1:4], [np.inf, -np.inf, 0])
        np.testing.assert_array_equal(comm.allreduce(long, "sum", algorithm)[6::5], np.full(4999, np.inf))
        big = np.full(3000, 60000, np.float16)  # the sum is out of range, the mean is not
        np.testing.assert_array_equal(comm.allreduce(big, "mean", algorithm), big)


def check_all_ranks_hold_the_same_bits(comm):
    x = np.random.default_rng(comm.rank).standard_normal(100003).astype(np.float32)
    for algorithm in ["auto", *comm.algorithms()]:
        for part in (x[:300], x):
            bits = comm.allgather_object(comm.allreduce(part, "sum", algorithm).tobytes())
            assert all(b == bits[0] for b in bits)


def check_movement(comm):
    p, me = comm.size, comm.rank
    for size in (0, 3, 700001):
        for root in {0, p - 1}:
            got = comm.broadcast(contribution(me, size, np.float64), root)
            np.testing.assert_array_equal(got, contribution(root, size, np.float64))
        rows = comm.allgather(np.full((size // 7 * me + me, 2), me, np.int32))
        np.testing.assert_array_equal(rows[:, 1], np.repeat(np.arange(p), [size // 7 * r + r for r in range(p)]))
    np.testing.assert_array_equal(comm.allgather(np.float32(me)), np.arange(p, dtype=np.float32))
    assert comm.broadcast_object({"from": me} if me == p - 1 else None, root=p - 1) == {"from": p - 1}
    gathered = comm.gather_object(("x" * me, me), root=0)
    assert gathered == ([("x" * r, r) for r in range(p)] if me == 0 else None)
    comm.barrier()
    if p > 1:  # both ways, through one tag and in order
        peer = me ^ 1
        if peer < p:
            for k in range(3):
                if me < peer:
                    comm.send(np.full(4, 10 * me + k), to=peer)
                    got = comm.recv(np.empty(4, np.int64), source=peer)
                else:
                    got = comm.recv(np.empty(4, np.int64), source=peer)
                    comm.send(np.full(4, 10 * me + k), to=peer)
                assert got[0] == 10 * peer + k


def check_other_reductions(comm):
    p, me = comm.size, comm.rank
    for size in (0, 1, 7, 1000, 2**16 + 3):
        for dtype in (np.float32, np.int16, BFLOAT16):
            mine, want = contribution(me, size, dtype), expected(p, size, dtype, "sum")
            for root in {0, p - 1}:
                got = comm.reduce(mine, "sum", root)
                assert np.array_equal(got, want) if me == root else got is None
            edges = np.cumsum([0] + [size // p + (r < size % p) for r in range(p)])
            assert np.array_equal(comm.reduce_scatter(mine), want[edges[me]:edges[me + 1]])
    rows = [2 * r for r in range(p)]
    matrix = np.full((sum(rows), 3), me, np.int32)
    assert np.array_equal(comm.reduce_scatter(matrix, "max", rows=rows), np.full((2 * me, 3), p - 1))


def check_alltoall(comm):
    p, me = comm.size, comm.rank
    np.testing.assert_array_equal(comm.alltoall(np.arange(p) + 100 * me), 100 * np.arange(p) + me)
    for scale in (0, 1, 50001):
        rows = [scale * (me + to) for to in range(p)]
        got = comm.alltoall(np.repeat(100 * me + np.arange(p), rows).astype(np.int16), rows)
        np.testing.assert_array_equal(got, np.repeat(100 * np.arange(p) + me, [scale * (r + me) for r in range(p)]))


def check_split(comm):
    p, me = comm.size, comm.rank
    half = comm.split(me % 2, key=-me)
    members = sorted((r for r in range(p) if r % 2 == me % 2), reverse=True)
    assert (half.rank, half.size) == (members.index(me), len(members))
    for n in (3, 30000):
        assert (half.allreduce(np.full(n, me)) == sum(members)).all()
        assert (comm.allreduce(np.full(n, me)) == p * (p - 1) // 2).all()
    np.testing.assert_array_equal(half.allgather(me), members)
    others = comm.split(None if me == 0 else 3)
    assert (others is None) == (me == 0)
    if others:
        others.barrier()
        assert others.allgather_object(me) == list(range(1, p))
        bucket = others.bucket(4000)
        bucket.input(np.float32)[:] = me
        others.wait(others.start(bucket, 1000, np.float32, "max"))
        assert p == 2 or (bucket.result(np.float32) == p - 1).all()


def check_buckets(comm):
    for n, in_place in ((40000, False), (40000, True), (3000, True), (900, True)):
        check_buckets_of(comm, n, in_place)


def check_buckets_of(comm, n, in_place):
    p, buckets = comm.size, [comm.bucket(4 * n, in_place=in_place) for _ in range(3)]
    for step in range(10):
        tickets = []
        if in_place:
            comm.barrier()  # all have read the results before anybody fills a window again
        for b in buckets:
            b.input(np.float32)[:n] = contribution(comm.rank, n, np.float32) + step
            tickets.append(comm.start(b, n - step, np.float32, "mean"))
        want = ((exact(p, n, "sum") + step * p) / np.float32(p)).astype(np.float32)
        for b, t in zip(buckets, tickets):
            comm.wait(t)
            np.testing.assert_array_equal(b.result(np.float32)[: n - step], want[: n - step])
    assert not buckets[0].shared or not buckets[0].result(np.float32).flags.writeable


CHECKS = [check_allreduce, check_special_values, check_all_ranks_hold_the_same_bits, check_movement,
          check_other_reductions, check_alltoall, check_split, check_buckets]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", default="", help="pretend nodes: that of every rank")
    parser.add_argument("--full", action="store_true", help="every size and dtype")
    options = parser.parse_args()
    from ringflow import collectives

    world = comm = collectives.init()
    if options.nodes:
        from mpi4py import MPI
        from ringflow import _core, _mpi
        nodes = [int(n) for n in options.nodes.split(",")]
        native = _core.Communicator.over(_mpi.transport(MPI.COMM_WORLD.py2f()), shared_memory=True, job="grid",
                                         nodes=nodes)
        comm = collectives.Communicator(native)
    compared = check_allreduce(comm, SIZES if options.full else FEW_SIZES, DTYPES if options.full else FEW_DTYPES)
    for check in CHECKS[1:]:
        check(comm)
    print(f"rank {comm.rank}/{comm.size} {comm.native.algorithm} passed {len(CHECKS)}, compared {compared}", flush=True)
    world.barrier()


if __name__ == "__main__":
    main()
