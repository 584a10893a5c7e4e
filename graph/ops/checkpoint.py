"""Checkpoints in a graph: saving tensors to TensorFlow's files and restoring them (graph/io/bundle.py)."""
from __future__ import annotations

import os

import numpy as np

from ..define import Array, define
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..io import bundle
from ..opdef import attr
from ..operation import Operation
from ..shapes import UNKNOWN, TensorShape
from .rules import ranked
from .strings import _scalar, _words


def _lists(where: str, names: Array, shape_and_slices: Array, count: int) -> None:
    if names.shape != (count,) or shape_and_slices.shape != (count,):
        raise InvalidArgumentError(f"[{where}] tensor_names and shape_and_slices must be vectors with one string for "
                                   f"each tensor: got {names.shape} and {shape_and_slices.shape} for {count}")


def _path(where: str, text: Array) -> str:
    if text.size != 1:
        raise InvalidArgumentError(f"[{where}] a prefix must be a scalar: got {text.shape}")
    return os.fsdecode(bytes(text.item()))


@define("SaveV2(prefix: string, tensor_names: string, shape_and_slices: string, tensors: [dtypes])",
        dtypes=attr("list(type)"), stateful=True, differentiable=False)
def save(prefix: Array, tensor_names: Array, shape_and_slices: Array, tensors: list[Array]) -> None:
    """Writes tensors[i] under tensor_names[i] to the checkpoint at `prefix`, for TensorFlow or RestoreV2 to read.

    shape_and_slices[i]: "", or the part of a larger tensor that tensors[i] is, like "4 3 0,2:-" (rows 0, 1 of (4, 3)).
    The checkpoint is there when all of it is. Raises: ResourceExhaustedError on a full disk.
    """
    _lists("SaveV2", tensor_names, shape_and_slices, len(tensors))
    bundle.save(_path("SaveV2", prefix), [bytes(n) for n in tensor_names], [s.decode() for s in shape_and_slices],
                tensors)


def _prefix_is_scalar(op: Operation) -> list[TensorShape]:
    for i, rank in enumerate((0, 1, 1)):
        ranked(op, i, rank)
    return [UNKNOWN] * len(op.outputs)


save.shape(_prefix_is_scalar)
save.sample(_scalar(b"/nowhere/m"), _words(b"a"), _words(b"", b""), [np.zeros(2, np.float32)])  # refused
save.sample(_scalar(b"/nowhere/m"), _words(b"a"), _words(b"2 0,x"), [np.zeros(2, np.float32)])  # refused


@define("RestoreV2(prefix: string, tensor_names: string, shape_and_slices: string) -> tensors: [dtypes]",
        dtypes=attr("list(type)"), stateful=True, differentiable=False)
def restore(prefix: Array, tensor_names: Array, shape_and_slices: Array, *, dtypes: list[DType]) -> list[Array]:
    """tensors[i] = what was saved at `prefix` as tensor_names[i], or the part of it that shape_and_slices[i] says.

    Raises: NotFoundError where there is no such checkpoint or tensor, DataLossError for damaged files,
    InvalidArgumentError for another dtype than was saved.
    """
    _lists("RestoreV2", tensor_names, shape_and_slices, len(dtypes))
    found = bundle.Bundle(_path("RestoreV2", prefix))
    for name, dtype in zip(tensor_names, dtypes):
        if found.entry(name).dtype != dtype.enum:
            raise InvalidArgumentError(f"[RestoreV2] {name!r} must have the dtype that it was saved with: expected "
                                       f"{dtype}, the checkpoint has DataType {found.entry(name).dtype}. Fix: restore "
                                       "it as that and cast")
    return [found.read(name, part.decode()) for name, part in zip(tensor_names, shape_and_slices)]


restore.shape(_prefix_is_scalar)
restore.sample(_scalar(b"/nowhere/m"), _words(b"a"), _words(b"", b""), dtypes=["float32"])  # refused


@define("MergeV2Checkpoints(checkpoint_prefixes: string, destination_prefix: string)", delete_old_dirs=True,
        allow_missing_files=False, stateful=True, differentiable=False)
def merge(checkpoint_prefixes: Array, destination_prefix: Array, *, delete_old_dirs: bool,
          allow_missing_files: bool) -> None:
    """Makes one checkpoint at `destination_prefix` () out of those at `checkpoint_prefixes` (n): their files move.

    Slices of one tensor may lie in several of them. `delete_old_dirs`: folders that are empty then go too.
    """
    prefixes = [os.fsdecode(bytes(p)) for p in checkpoint_prefixes.ravel()]
    destination = _path("MergeV2Checkpoints", destination_prefix)
    bundle.merge(prefixes, destination, allow_missing_files)
    for folder in {os.path.dirname(p) for p in prefixes} if delete_old_dirs else ():
        if folder != os.path.dirname(destination) and os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)


@merge.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 1)
    ranked(op, 1, 0)
    return []


merge.sample(_words(), _scalar(b"/nowhere/m"))  # refused
