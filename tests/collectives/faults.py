"""Planted faults: a training program in which one rank fails, and what must be seen of it on every other rank.

As a program (`python faults.py KIND VICTIM SEED`) it is one rank of such a run. `start` runs it under mpirun and judges
the end: the exit code, the error on each other rank, the time from the fault to the end of mpirun, and /dev/shm.
"""
import os
import pathlib
import random
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass

LIMIT_S = 3.0       # RINGFLOW_TIMEOUT_S once MPI_Init, which it would limit too, is over
ENDS_WITHIN_S = 20  # from the fault to the end of mpirun, on a loaded machine

# What each other rank says; {v}: the rank that fails, {r}: the rank that tells, {p}: their number. A list: any of them.
NOT_JOINED = r"rank {v} has not joined"
SEEN = {
    "graph": [r"the ranks hold different graphs"],
    "raise": [r"rank {r}/{p} on \S+ ends.* because rank {v}/{p} \(\S+\) ended: ValueError: planted"],
    "exit": [r"rank {r}/{p} on \S+ ends.* because rank {v}/{p} \(\S+\) ended: sys.exit\(3\)"],
    "text": [r"rank {r}/{p} on \S+ ends.* because rank {v}/{p} \(\S+\) ended: sys.exit\('planted'\)"],
    "interrupt": [r"rank {r}/{p} on \S+ ends.* because rank {v}/{p} \(\S+\) ended: KeyboardInterrupt"],
    "system exit": [r"rank {v} has left the program and cannot join"],
    "leave": [r"rank {v} has left the program and cannot join"],
    "sleep": [NOT_JOINED],
    "stop": [NOT_JOINED + r".* is stopped by a signal"],
    "thread": [NOT_JOINED],
    "kill": [r"rank {r}/{p} on \S+: rank {v} \(\S+, pid \d+\) has died",
             r"because .*rank {v} \(\S+, pid \d+\) has died"],
    "os._exit": [r"rank {r}/{p} on \S+: rank {v} \(\S+, pid \d+\) has died"],
    "calls": [r"rank {r}/{p}.*the ranks call different collectives as number"],
    "late init": [r"rank {r}/{p} .*timed out after .*"],
    "before init": [r"rank {v}"],
    "version": [r"rank {r}/{p} .*the ranks run different software: .*0\.0\.1"],
}
# What mpirun says, over several lines; enough where the ranks cannot: it may be quicker than they, and before `init`
# they know nothing of each other.
BY_MPIRUN = {"kill": r"process rank {v} with PID .*signal 9", "os._exit": r"Process name: \[\S+,{v}\]",
             "before init": r"Process name: \[\S+,{v}\]"}


@dataclass
class End:
    """How a run ended. `named_by`: the other ranks that gave the right error."""

    kind: str
    ranks: int
    victim: int
    code: int
    seconds: float
    named_by: set
    named_by_mpirun: bool
    left_behind: list
    stderr: str

    @property
    def right(self):
        named = len(self.named_by) == self.ranks - 1 or (self.kind in BY_MPIRUN and self.named_by_mpirun)
        return self.code != 0 and named and self.seconds < ENDS_WITHIN_S and not self.left_behind

    def __str__(self):
        return (f"{self.kind:12} np {self.ranks} victim {self.victim} code {self.code:4} {self.seconds:5.1f} s "
                f"named by {sorted(self.named_by)} mpirun {self.named_by_mpirun} left {self.left_behind}")


def start(mpirun, kind, ranks, victim, seed=0, **settings):
    """mpirun: the fixture of conftest.py. Settings as environment variables."""
    settings = {"RINGFLOW_WARN_S": str(LIMIT_S / 2), **settings}
    done = mpirun(ranks, pathlib.Path(__file__), kind, str(victim), str(seed), timeout_s=90, **settings)
    end = time.time()
    planted = [float(t) for t in re.findall(r"fault at ([\d.]+)", done.stdout)]
    lines = done.stderr.splitlines()
    named = set()
    for r in set(range(ranks)) - {victim}:
        patterns = [p.format(v=victim, r=r, p=ranks) for p in SEEN[kind]]
        if any(re.search(rf"rank {r}/{ranks}", line) and any(re.search(p, line) for p in patterns) for line in lines):
            named.add(r)
    by_mpirun = kind in BY_MPIRUN and re.search(BY_MPIRUN[kind].format(v=victim), done.stderr, re.DOTALL) is not None
    left = left_behind()
    seconds = end - min(planted, default=0.0)
    return End(kind, ranks, victim, done.returncode, seconds, named, by_mpirun, left, done.stderr)


def left_behind():
    """The segments of processes that are gone: those of other jobs have names only while their ranks attach."""
    from ringflow.collectives.segments import _NAME

    found = [_NAME.match(path.name) for path in pathlib.Path("/dev/shm").glob("ringflow.*")]
    return [match[0] for match in found if match and not os.path.exists(f"/proc/{match[1]}")]


def plant(kind, step):
    """The fault itself, on the rank that has it."""
    print(f"fault at {time.time()}", flush=True)
    if kind in ("raise", "before init"):
        raise ValueError("planted")
    if kind == "exit":
        sys.exit(3)
    if kind == "text":
        sys.exit("planted")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "system exit":
        raise SystemExit(3)
    if kind == "leave":
        sys.exit(0)
    if kind in ("sleep", "late init"):
        time.sleep(100)
    if kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "os._exit":
        os._exit(5)
    if kind == "kill":
        # at once, or while a step is under way
        delay_s = random.choice([0.0, 0.0, 0.001, 0.003])
        if delay_s == 0.0:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if kind == "thread":
        def loader():
            raise RuntimeError("planted")

        threading.Thread(target=loader, name="loader").start()
        time.sleep(100)  # for what the thread should have brought


def main(kind, victim, seed):
    import numpy as np
    import ringflow as rf
    from ringflow import collectives

    random.seed(seed)
    at_step, edit = random.randrange(1, 6), random.randrange(4)
    mine = int(os.environ["OMPI_COMM_WORLD_RANK"]) == victim
    if mine and kind in ("late init", "before init"):
        plant(kind, 0)
    if mine and kind == "version":
        from ringflow.collectives import world

        world.__version__ = "0.0.1"
    if kind != "late init":
        import mpi4py

        mpi4py.rc.thread_level = "serialized"
        from mpi4py import MPI  # noqa: F401  (starts MPI)
    if mine and kind == "version":
        print(f"fault at {time.time()}", flush=True)
    os.environ["RINGFLOW_TIMEOUT_S"] = str(LIMIT_S)
    world = collectives.init()
    if mine and kind == "graph":
        print(f"fault at {time.time()}", flush=True)
    changed = edit if mine and kind == "graph" else -1
    x = rf.placeholder(rf.float32, [None, 8], name="x")
    w = rf.Variable(np.ones((8, 5 if changed == 0 else 4), np.float32), name="w")
    h = rf.matmul(x, w, name="hidden")
    h = rf.sigmoid(h, name="act") if changed == 1 else rf.tanh(h, name="act")
    if changed == 2:
        h = rf.abs(h, name="extra")
    optimizer = rf.train.GradientDescentOptimizer(0.2 if changed == 3 else 0.1)
    train_op = rf.distribute(optimizer.minimize(rf.reduce_mean(rf.square(h))))
    rng = np.random.default_rng(world.rank)
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        for step in range(20 if kind == "none" else 2000):
            if mine and step == at_step and kind not in ("graph", "version", "calls", "none"):
                plant(kind, step)
            if kind == "calls" and step == at_step:
                if mine:
                    print(f"fault at {time.time()}", flush=True)
                world.allreduce(np.ones(7, np.float64 if mine else np.float32))
            session.run(train_op, {x: rng.standard_normal((16, 8))})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
