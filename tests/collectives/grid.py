"""The correctness grid, as functions of a communicator: the same bodies run on loopback threads and under mpirun.

`python grid.py` is one rank of such a run. Inputs differ by rank and position, with sums that are exact in every
dtype, so that a rank counted twice or a chunk out of place cannot pass.
"""
import numpy as np

BFLOAT16 = np.dtype([("bfloat16", "<u2")])
SIZES = [0, 1, 7, 1000, 2**16 + 3, 2**20]
DTYPES = [np.float32, np.float64, np.int32, np.int64, np.float16]


def contribution(rank, size, dtype):
    """Small integers: rank + 1 at the positions that the rank's bit pattern selects, so no two ranks look alike."""
    return ((np.arange(size) * (2 * rank + 3)) % 5 + rank + 1).astype(dtype)


def to_bfloat16(x):
    return (np.asarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16)


def from_bfloat16(x):
    return (x.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def all_inputs(p, size, dtype):
    return np.stack([contribution(r, size, dtype) for r in range(p)])


def check_allreduce(comm, sizes=SIZES, dtypes=DTYPES):
    for size in sizes:
        for dtype in dtypes:
            every = all_inputs(comm.size, size, np.int64)
            mine = contribution(comm.rank, size, dtype)
            expected = {"sum": every.sum(0), "min": every.min(0), "max": every.max(0)}
            if dtype != np.float16:
                expected["prod"] = every.prod(0).astype(dtype)
            for op, want in expected.items():
                got = comm.allreduce(mine, op)
                assert got.dtype == dtype, (got.dtype, dtype)
                np.testing.assert_array_equal(got, want.astype(dtype), err_msg=f"{op} {np.dtype(dtype)} {size}")
            if np.dtype(dtype).kind == "f":
                wide = np.float32 if dtype == np.float16 else dtype  # 16-bit floats are reduced in float32
                want = (every.sum(0).astype(wide) / wide(comm.size)).astype(dtype)
                np.testing.assert_array_equal(comm.allreduce(mine, "mean"), want)
            np.testing.assert_array_equal(mine, contribution(comm.rank, size, dtype), err_msg="the input was changed")


def check_bfloat16(comm):
    every = all_inputs(comm.size, 1001, np.float32)
    got = comm.allreduce(to_bfloat16(contribution(comm.rank, 1001, np.float32)), "sum")
    np.testing.assert_array_equal(from_bfloat16(got), every.sum(0))


def check_special_values(comm):
    x = np.zeros(5, np.float32)
    if comm.rank == comm.size - 1:
        x[:] = [np.nan, np.inf, -np.inf, -0.0, np.finfo(np.float32).tiny / 4]
    for op in ("sum", "min", "max", "mean"):
        got = comm.allreduce(x, op)
        assert np.isnan(got[0]), f"{op} lost a NaN"
    np.testing.assert_array_equal(comm.allreduce(x, "sum")[1:], x[1:] if comm.rank == comm.size - 1 else
                                  np.array([np.inf, -np.inf, 0, np.finfo(np.float32).tiny / 4], np.float32))
    big = np.full(3, 60000, np.float16)  # the sum is out of range, the mean is not
    np.testing.assert_array_equal(comm.allreduce(big, "mean"), big)


def check_all_ranks_hold_the_same_bits(comm):
    x = np.random.default_rng(comm.rank).standard_normal(100003).astype(np.float32)
    bits = comm.allgather_object(comm.allreduce(x, "sum").tobytes())
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


def check_buckets(comm):
    p, n = comm.size, 40000
    buckets = [comm.bucket(4 * n) for _ in range(3)]
    for step in range(10):
        tickets = []
        for b in buckets:
            b.input(np.float32)[:n] = contribution(comm.rank, n, np.float32) + step
            tickets.append(comm.start(b, n - step, np.float32, "mean"))
        want = ((all_inputs(p, n, np.int64) + step).sum(0) / np.float32(p)).astype(np.float32)
        for b, t in zip(buckets, tickets):
            comm.wait(t)
            np.testing.assert_array_equal(b.result(np.float32)[: n - step], want[: n - step])
    assert not buckets[0].shared or not buckets[0].result(np.float32).flags.writeable


CHECKS = [check_allreduce, check_bfloat16, check_special_values, check_all_ranks_hold_the_same_bits, check_movement,
          check_buckets]

if __name__ == "__main__":
    from ringflow import collectives

    world = collectives.init()
    for check in CHECKS:
        check(world)
    print(f"rank {world.rank}/{world.size} {world.native.algorithm} passed {len(CHECKS)}", flush=True)
