"""Starts in which one rank fails: each ends in the right error on every other rank within the deadline (faults.py)."""
import collections
import random

import faults
import pytest

KINDS = ["graph", "raise", "sleep", "kill"]


# A raising and a sleeping rank: test_failures.py.
@pytest.mark.parametrize("kind, ranks, victim, shared_memory", [
    ("graph", 2, 1, "1"), ("stop", 3, 1, "1"), ("kill", 3, 0, "1"), ("calls", 2, 1, "0"),
])
def test_a_planted_fault_ends_every_other_rank_with_the_right_error(mpirun, kind, ranks, victim, shared_memory):
    end = faults.start(mpirun, kind, ranks, victim, RINGFLOW_SHARED_MEMORY=shared_memory)
    assert end.right, f"{end}\n{end.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("shared_memory", ["1", "0"])
@pytest.mark.parametrize("kind", sorted(set(faults.SEEN) - set(KINDS)))
def test_every_other_kind_of_end_is_told(mpirun, kind, shared_memory):
    end = faults.start(mpirun, kind, 3, 1, RINGFLOW_SHARED_MEMORY=shared_memory)
    print(end)
    assert end.right, f"{end}\n{end.stderr}"


@pytest.mark.slow
def test_fifty_faulty_starts_all_end_right(mpirun):
    random.seed(0)
    ends = []
    for i in range(50):
        kind = KINDS[i % len(KINDS)]
        if kind == "sleep" and i % 8 >= 4:
            kind = "stop"
        ranks = random.randint(2, 4)
        ends.append(faults.start(mpirun, kind, ranks, random.randrange(ranks), i,
                                 RINGFLOW_SHARED_MEMORY=str(int(i % 5 != 4))))
        print(ends[-1], flush=True)
    wrong = [e for e in ends if not e.right]
    for kind in sorted({e.kind for e in ends}):
        of = [e for e in ends if e.kind == kind]
        print(f"{kind}: {sum(e.right for e in of)} of {len(of)}, {sum(len(e.named_by) == e.ranks - 1 for e in of)} "
              f"named by every other rank, {sum(e.named_by_mpirun for e in of)} by mpirun, "
              f"{min(e.seconds for e in of):.1f} to {max(e.seconds for e in of):.1f} s")
    assert not wrong, "\n".join(f"{e}\n{e.stderr}" for e in wrong)
    assert collections.Counter(e.kind in ("sleep", "stop") for e in ends)[True] >= 12


@pytest.mark.slow
def test_the_judge_refuses_a_run_without_a_fault_and_one_with_another_error(mpirun, monkeypatch):
    monkeypatch.setitem(faults.SEEN, "none", [r"rank {v}"])
    assert not faults.start(mpirun, "none", 2, 1).right, "all ranks end well"
    monkeypatch.setitem(faults.SEEN, "raise", faults.SEEN["kill"])
    end = faults.start(mpirun, "raise", 3, 1)
    assert not end.named_by and not end.right, f"{end}\n{end.stderr}"
