"""Ranks as threads of this process: everything distributed, in a plain test or a notebook."""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ringflow.graph.errors import AbortedError, InvalidArgumentError

from .communicator import Communicator, _core
from .world import _current

Result = TypeVar("Result")


def run(size: int, function: Callable[[Communicator], Result], *, algorithm: str = "auto",
        timeout_s: float = 60.0, warn_s: float = 30.0, nodes: Sequence[int] = ()) -> list[Result]:
    """[function(communicator of rank r) for r in range(size)], each on a thread of its own.

    Inside, `collectives.current()`, `rank()` and `size()` are the thread's. A rank that raises ends the others'
    collectives; its exception is raised here, with the rank in its text and as attribute `rank`.

    nodes: pretend nodes, by their numbers of ranks; memory is then shared within a node only. [2, 2] is two of two.

    >>> run(3, lambda c: c.allreduce(c.rank).tolist())
    [3, 3, 3]
    """
    if size < 1:
        raise InvalidArgumentError(f"[loopback] a world has at least one rank: received {size}")
    if nodes and sum(nodes) != size:
        raise InvalidArgumentError(f"[loopback] nodes must have {size} ranks in all: received {list(nodes)}")
    node_of = [node for node, ranks in enumerate(nodes) for _ in range(ranks)] or [0] * size
    natives = _core().Communicator.loopback(size, algorithm=algorithm, timeout_s=timeout_s, warn_s=warn_s,
                                          nodes=node_of)
    results: list[Any] = [None] * size
    failures: list[BaseException | None] = [None] * size

    def rank_main(r: int) -> None:
        communicator = Communicator(natives[r], local_rank=node_of[:r].count(node_of[r]),
                                    local_size=node_of.count(node_of[r]))
        _current.set(communicator)  # this thread's context, which nobody else has
        try:
            results[r] = function(communicator)
        except BaseException as e:
            failures[r] = e
            communicator.abort(f"{type(e).__name__}: {e}")
        finally:
            communicator.native.leave()

    threads = [threading.Thread(target=rank_main, args=(r,), name=f"rank {r}", daemon=True) for r in range(size)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for native in natives:
        native.close()
    failed = [r for r in range(size) if failures[r] is not None]
    # the cause, not those that it has taken along
    for r in sorted(failed, key=lambda r: (isinstance(failures[r], AbortedError), r)):
        raise _named(failures[r], r, size)
    return results


def _named(error: BaseException, rank: int, size: int) -> BaseException:
    error.rank = rank  # type: ignore[attr-defined]
    if error.args and isinstance(error.args[0], str):
        error.args = (f"rank {rank}/{size}: {error.args[0]}", *error.args[1:])
    return error
