"""The reference of tensor arrays: what a handle to one stands for in the interpreter.

An index is written once and, unless the array keeps its elements, read once. A gradient array (one for each name of a
source) adds up what is written to an index, and an index that nobody wrote reads as zeros of the forward element's
shape. The C++ twin is csrc/kernels/tensor_array.h. Source: TensorFlow's tensor array kernels.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..define import Array
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..shapes import TensorShape


@dataclass
class Element:
    """One index. Written without a value: zeros of `shape`, a gradient that nothing has reached yet."""

    value: Any = None
    shape: tuple[int, ...] | None = None
    written: bool = False
    read: bool = False
    cleared: bool = False


class ArrayState:
    """A tensor array of one run. All errors are InvalidArgumentError and name the array."""

    def __init__(self, name: str, dtype: DType, size: int, *, element_shape: TensorShape, dynamic_size: bool,
                 clear_after_read: bool, identical_element_shapes: bool, is_gradient: bool = False) -> None:
        self.name, self.dtype, self.element_shape = name, dtype, element_shape
        self.dynamic_size, self.clear_after_read = dynamic_size, clear_after_read
        self.identical, self.is_gradient = identical_element_shapes, is_gradient
        self.elements = [Element() for _ in range(size)]
        self.gradients: dict[str, ArrayState] = {}
        self.closed = self.aggregated = False

    def gradient(self, source: str) -> ArrayState:
        """The gradient array of that source: made at the first call, of the size and shapes that this one has then."""
        self.check_open("TensorArrayGradV3")
        if source not in self.gradients:
            if self.aggregated:
                raise self.error("TensorArrayGradV3", "has no gradient, because values were added up at an index")
            made = ArrayState(f"{self.name}@{source}", self.dtype, len(self.elements),
                              element_shape=self.element_shape, dynamic_size=False, clear_after_read=True,
                              identical_element_shapes=self.identical, is_gradient=True)
            for mine, its in zip(self.elements, made.elements):
                its.shape, its.written = mine.shape, mine.written
            self.dynamic_size = False
            self.gradients[source] = made
        return self.gradients[source]

    def write(self, where: str, index: int, value: Array) -> None:
        self.check_open(where)
        if index < 0 or (index >= len(self.elements) and not self.dynamic_size):
            raise self.error(where, f"cannot be written at index {index}: it is not resizeable and its size is "
                                    f"{len(self.elements)}")
        while index >= len(self.elements):
            self.elements.append(Element())
        if not self.element_shape.is_compatible_with(value.shape):
            raise self.error(where, f"has elements of shape {self.element_shape}: the value for index {index} has "
                                    f"shape {value.shape}")
        if self.identical:
            self.element_shape = TensorShape(value.shape)
        element = self.elements[index]
        if element.read:
            raise self.error(where, f"cannot be written at index {index}: it has already been read")
        if element.written and not self.is_gradient:
            raise self.error(where, f"cannot be written at index {index}: it has already been written to")
        if element.written and element.shape != value.shape:
            raise self.error(where, f"cannot add at index {index}: there is a value of shape {element.shape}, the new "
                                    f"one has shape {value.shape}")
        if element.value is None:
            element.value = np.array(value)
        else:
            element.value = element.value + value
            self.aggregated = True
        element.shape, element.written = value.shape, True

    def read(self, where: str, index: int) -> Array:
        self.check_open(where)
        if not 0 <= index < len(self.elements):
            raise self.error(where, f"cannot be read at index {index}: its size is {len(self.elements)}")
        element = self.elements[index]
        if element.cleared:
            raise self.error(where, f"cannot be read twice at index {index}: it was cleared after a previous read. "
                                    "Fix: pass clear_after_read=False")
        if not element.written:
            if not self.element_shape.is_fully_defined():
                raise self.error(where, f"cannot be read at index {index}: it was never written to, and the shape of "
                                        f"its elements is not known: {self.element_shape}")
            element.shape, element.written = self.element_shape.known, True
        if element.value is None:
            assert element.shape is not None
            element.value = np.zeros(element.shape, self.dtype.as_numpy_dtype)
        element.read = True
        value: Array = element.value
        if self.clear_after_read:
            element.value, element.cleared = None, True
        return value

    def row_shape(self, where: str, given: TensorShape) -> TensorShape:
        """What the array and `given` know of the shape of elements."""
        if not self.element_shape.is_compatible_with(given):
            raise self.error(where, f"has elements of shape {self.element_shape}: 'element_shape' is {given}")
        return self.element_shape.merge_with(given)

    def check_open(self, where: str) -> None:
        if self.closed:
            raise self.error(where, "has already been closed")

    def check_dtype(self, where: str, dtype: DType) -> None:
        if dtype is not self.dtype:
            raise self.error(where, f"holds {self.dtype}: got {dtype}")

    def check_size(self, where: str, size: int) -> None:
        """`size` elements are to be written: as many as there are, or any number where the array grows."""
        if size != len(self.elements) and not self.dynamic_size:
            raise self.error(where, f"is not resizeable and its size is {len(self.elements)}: got {size} elements")

    def close(self) -> None:
        self.closed = True
        self.elements.clear()

    def error(self, where: str, what: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"[{where}] tensor array {self.name!r} {what}")
