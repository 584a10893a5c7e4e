"""The MPI transport: long messages in parts, and what happens where /dev/shm is too small."""
import shutil
import subprocess

import pytest

PARTS = """
import numpy as np
from ringflow import collectives
world = collectives.init()
from mpi4py import MPI
from ringflow import _core, _mpi
transport = _mpi.transport(MPI.COMM_WORLD.py2f(), max_message=1000)  # 1 GiB otherwise
def over(transport):
    return collectives.Communicator(_core.Communicator.over(transport, shared_memory=False, job="parts"))
comm = over(transport)
for n in (0, 1, 999, 1000, 1001, 123457):
    x = np.arange(n, dtype=np.uint8) + comm.rank
    if comm.rank == 0:
        comm.send(x, to=1)
    elif comm.rank == 1:
        assert (comm.recv(np.empty(n, np.uint8), source=0) == np.arange(n, dtype=np.uint8)).all()
    assert (comm.allreduce(x.astype(np.int64), algorithm="ring")[:200] == 3 * np.arange(min(n, 200)) + 3).all()
    assert (comm.split(0, -comm.rank).broadcast(x) == np.arange(n, dtype=np.uint8) + 2).all()
for sent, expected in ((2500, 2499), (250, 375), (375, 250), (250, 251), (0, 125), (125, 0)):  # 1000 bytes are 125
    pair = over(_mpi.transport(MPI.COMM_WORLD.py2f(), max_message=1000))
    if pair.rank == 0:
        pair.send(np.zeros(sent), to=1)
    if pair.rank == 1:
        try:
            pair.recv(np.empty(expected), source=0)
            raise SystemExit("a message of another size was taken")
        except Exception as e:
            got = f"which sent {8 * sent}." if sent < expected else "which sent more."
            assert f"expects {8 * expected} bytes from rank 0, " + got in str(e), (sent, expected, e)
print("ok", flush=True)
import os
world.barrier()
os._exit(0)
"""

FALLBACK = """
import numpy as np
from ringflow import collectives
world = collectives.init()
assert (world.allreduce(np.ones(100000)) == 2).all()
bucket = world.bucket(4 << 20)
assert not bucket.shared
bucket.input("f4")[:] = world.rank + 1
world.wait(world.start(bucket, 1 << 20, "f4"))
assert (bucket.result("f4") == 3).all()
print("ok")
"""


def test_messages_beyond_the_limit_travel_in_parts(mpirun):
    done = mpirun(3, PARTS)
    assert done.stdout.count("ok") == 3, done.stderr


@pytest.mark.parametrize("room", ["4k", "2m"])  # not even for the control block; for it, but for no window
def test_without_room_in_dev_shm_the_transport_carries_everything(mpirun, room):
    def within(size):  # a mount namespace with a /dev/shm of its own
        return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"', "sh"]

    if not shutil.which("unshare") or subprocess.run([*within("4k"), "true"], capture_output=True).returncode != 0:
        pytest.skip("a private /dev/shm needs the right to mount")
    done = mpirun(2, FALLBACK, within=within(room), OMPI_MCA_btl="self,tcp")
    assert done.stdout.count("ok") == 2, done.stderr
    assert "ringflow: warning: " in done.stderr and "/dev/shm has" in done.stderr
