"""``contrib.layers``: initializers and regularizers that scripts for TensorFlow 1 take from there; not the layers."""
from collections.abc import Callable
from typing import Any

from ringflow.graph.operation import Tensor
from ringflow.graph.ops.reduce import l2_loss
from ringflow.graph.state.initializers import Initializer, glorot_normal_initializer, glorot_uniform_initializer


def xavier_initializer(uniform: bool = True, seed: int | None = None, dtype: Any = "float32") -> Initializer:
    """Glorot and Bengio's: ``glorot_uniform_initializer``, or the normal one."""
    kind: Any = glorot_uniform_initializer if uniform else glorot_normal_initializer
    made: Initializer = kind(seed=seed, dtype=dtype)
    return made


xavier_initializer_conv2d = xavier_initializer


def l2_regularizer(scale: float) -> Callable[[Any], Tensor]:
    """scale * sum(w^2) / 2 of a variable w."""
    return lambda weights: l2_loss(weights) * scale
