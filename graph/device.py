"""Devices: their names, what a partial name matches, and the devices of a session.

A full name is ``/job:worker/replica:0/task:3/device:CPU:0``. Parts may be left out, or be ``*``; ``/cpu:0`` and
``/gpu:1`` are short for ``/device:CPU:0`` and ``/device:GPU:1``. A DeviceSpec is a value.
"""
from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .config import launch
from .errors import InvalidArgumentError

_PART = re.compile(r"(?:job:(?P<job>[A-Za-z]\w*|\*)|replica:(?P<replica>\d+|\*)|task:(?P<task>\d+|\*)|"
                   r"(?:device:(?P<type>[A-Za-z]\w*|\*)|(?P<short>cpu|gpu))(?::(?P<index>\d+|\*))?)$", re.I)


@dataclass(frozen=True)
class DeviceSpec:
    """A full or partial device name; None where a part is not said."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    device_type: str | None = None
    device_index: int | None = None

    @staticmethod
    @functools.lru_cache(maxsize=1024)
    def parse(text: str) -> DeviceSpec:
        """Raises: InvalidArgumentError where `text` is no device name."""
        found: dict[str, str] = {}
        for part in filter(None, text.split("/")):
            match = _PART.match(part)
            if match is None:
                raise InvalidArgumentError(
                    f"[device] {text!r} is not a device name: cannot read {part!r}. Fix: write '/cpu:0', '/gpu:1' or "
                    "'/job:worker/task:0/device:CPU:0'")
            for key, value in match.groupdict().items():
                key = "type" if key == "short" else key
                if value is not None and found.setdefault(key, value) != value:
                    raise InvalidArgumentError(f"[device] {text!r} says twice which {key}. Fix: leave one out")

        def number(key: str) -> int | None:
            return None if found.get(key, "*") == "*" else int(found[key])

        def name(key: str) -> str | None:
            return None if found.get(key, "*") == "*" else found[key]

        kind = name("type")
        return DeviceSpec(name("job"), number("replica"), number("task"), kind and kind.upper(), number("index"))

    @staticmethod
    def from_string(text: str) -> DeviceSpec:
        return DeviceSpec.parse(text)

    def merged_into(self, outer: DeviceSpec) -> DeviceSpec:
        """This spec, with what it leaves open taken from the enclosing scope's."""
        def pick(name: str) -> Any:
            own = getattr(self, name)
            return getattr(outer, name) if own is None else own
        index = self.device_index if self.device_type is not None else outer.device_index
        return DeviceSpec(pick("job"), pick("replica"), pick("task"), pick("device_type"), index)

    def matches(self, full: DeviceSpec) -> bool:
        """Whether `full` has every part that this spec says."""
        return all(own is None or own == theirs for own, theirs in zip(self._parts(), full._parts()))

    def _parts(self) -> tuple[Any, ...]:
        return self.job, self.replica, self.task, self.device_type, self.device_index

    def to_string(self) -> str:
        return str(self)

    def __str__(self) -> str:
        text = "" if self.job is None else f"/job:{self.job}"
        text += "" if self.replica is None else f"/replica:{self.replica}"
        text += "" if self.task is None else f"/task:{self.task}"
        if self.device_type is not None:
            text += f"/device:{self.device_type}:{'*' if self.device_index is None else self.device_index}"
        return text


class DeviceAttributes(NamedTuple):
    """What ``Session.list_devices`` tells of one device."""

    name: str
    device_type: str
    memory_limit_bytes: int
    incarnation: int


@dataclass(frozen=True)
class Device:
    """One device of a session. Of several that could run an operation, the highest `priority` is preferred."""

    name: str
    spec: DeviceSpec
    priority: int
    incarnation: int  # tells this device from the one of that name in another session

    @property
    def task(self) -> tuple[str | None, int | None, int | None]:
        """Devices of one task share a process."""
        return self.spec.job, self.spec.replica, self.spec.task

    def __str__(self) -> str:
        return self.name


def local_devices(count: Mapping[str, int], priorities: Mapping[str, int]) -> list[Device]:
    """The devices of this process, preferred ones first: `count` of each type in `priorities`, by default one CPU.

    Counts of types that are not there are limits, and met. Under a launcher a process is task `rank` of job "worker".
    Raises: InvalidArgumentError for no CPU."""
    if count.get("CPU", 1) < 1:
        raise InvalidArgumentError("[Session] device_count['CPU'] must be at least 1: received 0")
    started = launch()
    job, task = ("worker", started.rank) if started.launcher else ("localhost", 0)
    devices = []
    for kind, priority in sorted(priorities.items(), key=lambda item: -item[1]):
        for index in range(count.get(kind, int(kind == "CPU"))):
            spec = DeviceSpec(job, 0, task, kind, index)
            devices.append(Device(str(spec), spec, priority, random.SystemRandom().getrandbits(63)))
    return devices


def names_of(devices: Iterable[Device]) -> str:
    return ", ".join(d.name for d in devices)
