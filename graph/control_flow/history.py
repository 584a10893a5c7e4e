"""What a gradient loop knows of its forward loop."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnimplementedError
from ..operation import Tensor

if TYPE_CHECKING:
    from .contexts import Context


class History:
    """Values of the forward loop, by iteration."""

    def recall(self, t: Tensor, context: Context) -> Tensor:
        """`t`, a value of the forward loop, as it was in the iteration that the gradient loop is at."""
        raise UnimplementedError(f"[gradients] no history of {t.name!r}")
