"""Session: runs parts of a graph and keeps the values of its variables.

``run`` looks up a cached plan by (fetches, feeds); a plan (plan.py) holds one executable for each set of feed shapes.
What executes is a backend: the C++ runtime where it is built (kernels/ registers it), the NumPy interpreter otherwise.
Threads may share a session, and sessions a graph. One thread may add to the graph meanwhile: making a plan and making
a node exclude each other, and what has been planned may not be changed any more.
"""
from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from .. import config
from ..default_session import Default
from ..device import DeviceAttributes, local_devices
from ..errors import GraphError, InvalidArgumentError, UnimplementedError
from ..files.wire import to_graph_def
from ..graph import Graph, GraphKeys, get_default_graph
from ..operation import Operation, Tensor
from ..passes import Program, extract, log_placement, optimise, place, split
from ..passes.client import Ends, keep_reads, open_ends
from ..placement.costs import Costs
from ..run_options import RunOptions, checked_config, checked_options
from ..shapes import TensorShape
from .backend import BACKENDS, Run
from .dump import dumper
from .fetches import Fetches, key_of
from .measured import Measured
from .partial_run import Live, PartialRun, handle_of
from .plan import Plan

_LEAVE_S = 0.2  # for threads of a program that ends
_open: weakref.WeakSet[Session] = weakref.WeakSet()  # what Session.reset reaches


class Session:
    """Runs operations of one graph.

        with rf.Session() as session:
            session.run(rf.global_variables_initializer())
            loss_value, _ = session.run([loss, train_op], {x: batch})
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None,
                 backend: str | None = None) -> None:
        """Args: target: must be "" (ringflow runs in this process); graph: default the default graph; config: an
        rf.ConfigProto; backend: "cpp" or "reference" (default: "cpp" where it is built)."""
        _check_target(target)
        self.config = checked_config(config)
        self._graph = graph if graph is not None else get_default_graph()
        name = backend or ("cpp" if "cpp" in BACKENDS else "reference")
        if name not in BACKENDS:
            raise InvalidArgumentError(f"[Session] no backend is named {name!r}: there are {', '.join(BACKENDS)}")
        self.backend = BACKENDS[name](self.config)
        self._devices = local_devices(self.config.device_count, self.backend.device_types)
        self._plans: dict[Any, Plan] = {}
        self._partial: dict[Any, tuple[Plan, Ends, Callable[[], Live]]] = {}
        self._started: set[Operation] = set()
        self._lock = threading.RLock()
        self._closed = False
        self._entered: list[Any] = []
        _open.add(self)

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def closed(self) -> bool:
        return self._closed

    def list_devices(self) -> list[DeviceAttributes]:
        """The devices that operations of this session may be on, preferred ones first."""
        return [DeviceAttributes(d.name, d.spec.device_type or "", 0, d.incarnation) for d in self._devices]

    # ---- running
    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """The values of `fetches`: a tensor, an operation (gives None), a variable or a name of one, or a list,
        tuple or dict of them.

        `feed_dict`: tensor (or its name) -> value; any tensor can be fed. `options`: an rf.RunOptions;
        `run_metadata`: an rf.RunMetadata, filled with what the options ask for.
        Raises: InvalidArgumentError for wrong feeds or fetches and failing kernels, FailedPreconditionError for an
        uninitialised variable, each with the node's name and the line that made it.
        """
        timeout_ms = 0 if options is None else checked_options(options).timeout_in_ms
        feeds = feed_dict or {}
        key = (key_of(fetches), tuple(feeds))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(key, fetches, list(feeds))
        if run_metadata is not None and options is not None:
            return self._recorded(plan, list(feeds.values()), options, run_metadata)
        return plan(list(feeds.values()), timeout_ms)

    def _recorded(self, plan: Plan, values: list[Any], options: RunOptions, run_metadata: Any) -> Any:
        """Runs `plan` and leaves in `run_metadata` what the options ask for."""
        if options.trace_level:
            results = plan.traced(values, options.timeout_in_ms, run_metadata)
        else:
            results = plan(values, options.timeout_in_ms)
        if options.output_partition_graphs:
            program = self._program(plan, plan.shapes_of(values))
            for graph in [part.graph for part in program.parts] or [program.graph]:
                run_metadata.partition_graphs.append(to_graph_def(graph))
        return results

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] = ()) -> Callable[..., Any]:
        """A function of the feeds (by position) that runs `fetches`: ``run`` without looking anything up."""
        plan = self._plan((key_of(fetches), tuple(feed_list)), fetches, list(feed_list))
        run = plan.__call__

        def call(*values: Any) -> Any:
            if len(values) != len(feed_list):
                raise InvalidArgumentError(f"[callable] takes {len(feed_list)} values, {len(values)} were given")
            return run(values)

        return call

    # ---- running in parts
    def partial_run_setup(self, fetches: Any, feeds: Sequence[Any] = ()) -> PartialRun:
        """Begins a run that ``partial_run`` goes on with. `fetches`, `feeds`: all that its calls will use together.

        Raises: UnimplementedError where the session's backend cannot.
        """
        key = "partial", key_of(fetches), tuple(feeds)
        with self._lock:
            if key not in self._partial:
                plan = self._new_plan(fetches, list(feeds))
                start = getattr(self.backend, "start_partial", None)
                if start is None:
                    raise UnimplementedError("[partial_run] this session's backend cannot. Fix: use backend='cpp'")
                program = self._program(plan, [None] * len(feeds), partial=True)
                self._partial[key] = plan, program.notes["ends"], start(program)
            plan, ends, begin = self._partial[key]
        return PartialRun(plan, ends, begin())

    def partial_run(self, handle: Any, fetches: Any, feed_dict: Any = None) -> Any:
        """Feeds more, and gives the values of `fetches` as ``run`` does. Feeds and fetches come once each.

        Raises: InvalidArgumentError for what was not declared in the setup, comes again, or cannot be computed yet;
        what the run raises, after which the handle is used up.
        """
        return handle_of(handle).run(self._graph, fetches, {self._feed(k): v for k, v in (feed_dict or {}).items()})

    def _plan(self, key: Any, fetches: Any, feed_keys: list[Any]) -> Plan:
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = self._new_plan(fetches, feed_keys)
            return plan

    def _new_plan(self, fetches: Any, feed_keys: list[Any]) -> Plan:
        if self._closed:
            raise GraphError("[Session] the session is closed. Fix: make a new one")
        feeds = [self._feed(f) for f in feed_keys]
        if len(set(feeds)) != len(feeds):
            raise InvalidArgumentError("[feed] one tensor is fed twice, under two keys")
        return Plan(self._graph, Fetches(self._graph, fetches), feeds, self._compile)

    def _feed(self, key: Any) -> Tensor:
        element = self._graph.as_graph_element(key)
        if isinstance(element, Operation):
            if len(element.outputs) != 1:
                raise InvalidArgumentError(f"[feed] {element!r} cannot be fed: it has {len(element.outputs)} outputs. "
                                           "Fix: feed one of its tensors, 'name:0'")
            element = element.outputs[0]
        if element.is_ref or element.dtype.kind == "h":
            raise InvalidArgumentError(f"[feed] {element!r} cannot be fed: it is a reference")
        return element

    def _compile(self, plan: Plan, shapes: Sequence[TensorShape | None], costs: Costs | None = None) -> Run:
        program = self._program(plan, shapes, costs)
        measured = self.config.graph_options.build_cost_model
        timed = getattr(self.backend, "compile_timed", None)
        if costs is None and measured and len(self._devices) > 1 and timed is not None:
            return Measured(timed(program), measured, program, lambda found: self._compile(plan, shapes, found))
        return self.backend.compile(program)

    def _program(self, plan: Plan, shapes: Sequence[TensorShape | None], costs: Costs | None = None,
                 partial: bool = False) -> Program:
        """What `plan` runs for feeds of these shapes, ready to be compiled."""
        options = self.config.graph_options
        trace = dumper(config.get("RINGFLOW_DUMP_PASSES"))
        with self._lock:
            with self._graph._lock:  # nobody changes a node between its copying and its being marked
                program = extract(self._graph, plan.fetches.tensors, plan.fetches.operations, plan.feeds, shapes, self)
                new = [op for op in program.source_ops if not op.has_run]
                for op in new:
                    op.has_run = True
            try:
                place(program, self._devices, self.backend.supports, self.config.allow_soft_placement, costs)
                if self.config.log_device_placement:
                    log_placement(program, self._devices)
                if partial:
                    keep_reads(program)
                optimise(program, trace, least=options.optimizer_options.opt_level < 0)
                if partial:
                    program.notes["ends"] = open_ends(program)
                self._run_first(program)
            except BaseException:
                for op in new:
                    op.has_run = False  # it may be changed until the error is gone
                raise
            if len(self._devices) > 1:
                split(program, self._devices, options, costs)
                if trace is not None:
                    for part in program.parts:
                        trace(f"partition {part.device.name}", part.graph)
            return program

    def _run_first(self, program: Program) -> None:
        """Operations that the graph wants run once before any plan that holds certain op types."""
        types = {op.type for op in program.source_ops}
        for needed, op in self._graph.get_collection(GraphKeys.BEFORE_FIRST_RUN):
            if op not in self._started and not types.isdisjoint(needed) and op not in program.source_ops:
                self._started.add(op)
                try:
                    self.run(op)
                except BaseException:
                    self._started.discard(op)  # variables were not initialised yet, say: the next plan tries again
                    raise

    # ---- life
    def close(self) -> None:
        """Drops all plans and variables. What runs on other threads ends as CancelledError; running afterwards is an
        error."""
        self.backend.close()
        with self._lock:
            self._closed = True
            self._plans.clear()
            self._partial.clear()
            self.backend.reset("")
            _open.discard(self)

    def clear(self, container: str = "") -> None:
        """Forgets the variables, queues and the like of `container` (default: the unnamed one). The session stays open.

        What ran once before the first run of a plan, such as the broadcast of initial values, runs again.
        """
        with self._lock:
            self.backend.reset(container)
            self._started.clear()
            for plan in self._plans.values():
                plan.forget()

    @staticmethod
    def reset(target: str = "", containers: Sequence[str] | None = None, config: Any = None) -> None:
        """Clears `containers` (default: the unnamed one) of every open session of this process and closes them all.

        Raises: InvalidArgumentError for a target other than ""."""
        _check_target(target)
        for session in list(_open):
            for container in containers or ("",):
                session.clear(container)
            session.close()

    def as_default(self) -> Default:
        """A context in which ``tensor.eval()`` and ``operation.run()`` use this session; it stays open afterwards."""
        return Default(self)

    def __enter__(self) -> Session:
        default = Default(self)
        default.__enter__()
        self._entered.append(default)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._entered.pop().__exit__(kind, value, trace)
        if not self._entered:
            self.close()


class InteractiveSession(Session):
    """A session that is the default from its making until it is closed: for the interpreter's prompt."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None,
                 backend: str | None = None) -> None:
        super().__init__(target, graph, config, backend)
        self._default = self.as_default()
        self._default.__enter__()

    def close(self) -> None:
        if not self._closed:
            self._default.__exit__(None, None, None)
        super().close()


@atexit.register
def _close_all() -> None:
    """Ends what daemon threads still run, and lets them come out of it: later they would find no interpreter."""
    sessions = list(_open)
    for session in sessions:
        Session.close(session)
    until = time.monotonic() + _LEAVE_S
    for thread in threading.enumerate() if sessions else ():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))


def _check_target(target: str) -> None:
    if target:
        raise InvalidArgumentError(f"[Session] target {target!r}: there are no servers here. Fix: leave it out, and "
                                   "start several ranks with mpirun")
