"""Device names: ``/job:worker/replica:0/task:3/device:CPU:0``, short forms (``/cpu:0``, ``/gpu:1``), merging."""
from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import InvalidArgumentError

_PART = re.compile(r"(job|replica|task):([A-Za-z0-9_]+)$|(?:device:)?([A-Za-z_]+):(\d+|\*)$", re.I)


@dataclass(frozen=True)
class DeviceSpec:
    """A full or partial device name; None where a part is not said."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    kind: str | None = None
    index: int | None = None

    @staticmethod
    def parse(text: str) -> DeviceSpec:
        """Raises: InvalidArgumentError where `text` is no device name."""
        parts: dict[str, str | int | None] = {}
        for part in filter(None, text.split("/")):
            match = _PART.match(part)
            if match is None:
                raise InvalidArgumentError(
                    f"[device] {text!r} is not a device name: cannot read {part!r}. Fix: write '/cpu:0', '/gpu:1' or "
                    "'/job:worker/task:0/device:CPU:0'")
            key, value, kind, index = match.groups()
            if key:
                key = key.lower()
                if key != "job" and not value.isdigit():
                    raise InvalidArgumentError(f"[device] {text!r}: {key} must be a number, got {value!r}")
                parts[key] = value if key == "job" else int(value)
            else:
                parts["kind"] = kind.upper()
                parts["index"] = None if index == "*" else int(index)
        return DeviceSpec(**parts)  # type: ignore[arg-type]

    def merged_into(self, outer: DeviceSpec) -> DeviceSpec:
        """This spec, with what it leaves open taken from the enclosing scope's."""
        def pick(name: str) -> object:
            own = getattr(self, name)
            return getattr(outer, name) if own is None else own
        index = self.index if self.kind is not None else outer.index
        return DeviceSpec(pick("job"), pick("replica"), pick("task"), pick("kind"), index)  # type: ignore[arg-type]

    def __str__(self) -> str:
        text = "" if self.job is None else f"/job:{self.job}"
        text += "" if self.replica is None else f"/replica:{self.replica}"
        text += "" if self.task is None else f"/task:{self.task}"
        if self.kind is not None:
            text += f"/device:{self.kind}:{'*' if self.index is None else self.index}"
        return text
