"""Resizing images by the nearest pixel, and its gradient. images: (n, h, w, c)."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_value
from ..define import Array, define
from ..dtypes import NUMBERS, float32, float64, int32
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import build, ranked

_ATTRS: dict[str, Any] = {"T": NUMBERS, "align_corners": False, "half_pixel_centers": False}
_GRAD_ATTRS: dict[str, Any] = {**_ATTRS, "T": (float32, float64, int32)}


def _sources(n: int, wanted: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """For each of `wanted` positions, which of the n original ones is nearest. In float32, as TensorFlow does."""
    scale = np.float32(n - 1) / np.float32(wanted - 1) if align_corners and wanted > 1 else np.float32(n) / np.float32(
        max(wanted, 1))
    at = np.arange(wanted, dtype=np.float32)
    if half_pixel_centers:
        at = at + np.float32(0.5)
    at = at * scale
    at = np.floor(at + np.float32(0.5)) if align_corners else np.floor(at)
    return np.clip(at.astype(np.int64), 0, n - 1)


def _resized(op: Operation) -> list[TensorShape]:
    ranked(op, 1, 1)
    size = constant_value(op.inputs[1])
    height, width = (None, None) if size is None else (int(d) for d in size)
    n, _, _, c = ranked(op, 0, 4)
    return [TensorShape([n, height, width, c])]


def _check(op: Operation, images: Array, size: Array) -> None:
    if images.ndim != 4 or size.shape != (2,) or min(size.tolist()) < 1 or 0 in images.shape[1:3]:
        raise InvalidArgumentError(f"[{op.type}] images must be (n, h, w, c), 'size' two numbers >= 1: got "
                                   f"{images.shape} and {size.tolist()}")
    if op.attrs["align_corners"] and op.attrs["half_pixel_centers"]:
        raise InvalidArgumentError(f"[{op.type}] 'align_corners' and 'half_pixel_centers' exclude each other")


@define("ResizeNearestNeighbor(images: T, size: int32) -> resized_images: T", **_ATTRS, shape=_resized)
def resize_nearest(images: Array, size: Array, *, align_corners: bool, half_pixel_centers: bool,
                   op: Operation) -> Array:
    """Each pixel of the result, of `size` (2,), is the nearest pixel of the image."""
    _check(op, images, size)
    rows, columns = (_sources(n, int(s), align_corners, half_pixel_centers) for n, s in zip(images.shape[1:3], size))
    return images[:, rows][:, :, columns]


@resize_nearest.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [resize_nearest_grad(grad, _image_size(op.inputs[0]), align_corners=op.attrs["align_corners"],
                                half_pixel_centers=op.attrs["half_pixel_centers"]), None]


def _image_size(images: Tensor) -> Any:
    dims = images.shape.dims
    if dims is not None and None not in dims[1:3]:
        return np.array(dims[1:3], np.int32)
    return build("StridedSlice", build("Shape", images), [1], [3], [1])


@define("ResizeNearestNeighborGrad(grads: T, size: int32) -> output: T", **_GRAD_ATTRS,
        shape=_resized)
def resize_nearest_grad(grads: Array, size: Array, *, align_corners: bool, half_pixel_centers: bool,
                        op: Operation) -> Array:
    """The gradient with respect to images of `size` (2,): each of `grads` is added where its pixel came from."""
    _check(op, grads, size)
    rows, columns = (_sources(int(s), n, align_corners, half_pixel_centers) for n, s in zip(grads.shape[1:3], size))
    output = np.zeros((grads.shape[0], int(size[0]), int(size[1]), grads.shape[3]), grads.dtype)
    np.add.at(output.transpose(1, 2, 0, 3), (rows[:, None], columns[None]), grads.transpose(1, 2, 0, 3))
    return output


@resize_nearest_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [resize_nearest(grad, _image_size(op.inputs[0]), align_corners=op.attrs["align_corners"],
                           half_pixel_centers=op.attrs["half_pixel_centers"]), None]


for _op in (resize_nearest, resize_nearest_grad):
    _op.sample(normal(2, 3, 4, 2), np.array([6, 5], np.int32))
    _op.sample(normal(1, 7, 5, 3), np.array([3, 2], np.int32), align_corners=True)
    _op.sample(normal(1, 4, 4, 1), np.array([7, 1], np.int32), half_pixel_centers=True)
    _op.sample(normal(0, 2, 2, 1), np.array([4, 4], np.int32))
    _op.sample(normal(1, 2, 2, 1), np.array([0, 4], np.int32))  # refused

__all__ = ["resize_nearest"]
