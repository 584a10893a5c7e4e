"""Accuracy of the elementary functions of csrc/kernels/vector_math.h, on every instruction set, against NumPy.

Over all of float32, one in 4099 bit patterns (with -m slow one in 127), and special values. Denormals count as zeros,
as results and as arguments: kernels run with denormals flushed where the processor can.
"""
import numpy as np
import pytest

pytest.importorskip("ringflow._core")
from .one_op import SETS, OneOp, using  # noqa: E402

SMALLEST = np.finfo(np.float32).tiny  # normal
SPECIAL = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, SMALLEST, -SMALLEST, 1e-40, -1e-40, 88.72, 88.73, -87.3,
                    -87.4, -103.9, -104, -105, 9.0, 9.01, 20, -20], np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# op: (NumPy in double, units in the last place that it may be off)
FUNCTIONS = {
    "Exp": (np.exp, 2), "Log": (np.log, 2), "Tanh": (np.tanh, 2), "Sigmoid": (sigmoid, 2), "Log1p": (np.log1p, 2),
    "Expm1": (np.expm1, 2), "Softplus": (lambda x: np.logaddexp(0, x), 2), "Sqrt": (np.sqrt, 0.5),
    "Rsqrt": (lambda x: 1 / np.sqrt(x), 2),
}


def units_off(actual, x, function):
    """How many units in the last place of a float32 each of `actual` is away from function(x); 0 where it is the same
    infinity or NaN, infinity where only one of them is."""
    with np.errstate(all="ignore"):
        exact = function(x.astype(np.float64))
        rounded = exact.astype(np.float32)
        unit = np.maximum(np.spacing(np.minimum(np.abs(rounded), np.finfo(np.float32).max)), np.spacing(SMALLEST))
        off = np.abs(actual.astype(np.float64) - exact) / unit
    same = (actual == rounded) & np.isinf(rounded) | np.isnan(actual) & np.isnan(rounded)
    off = np.where(same, 0, np.where(np.isfinite(actual) & np.isfinite(rounded), off, np.inf))
    flushed = (np.abs(rounded) < SMALLEST) & (actual == 0)
    return np.where(flushed, 0, off)


def worst(run, patterns, function):
    x = np.concatenate([patterns.view(np.float32), SPECIAL])
    [y] = run(x)
    off = units_off(y, x, function)
    denormal = (np.abs(x) < SMALLEST) & (x != 0)
    off[denormal] = np.minimum(off[denormal], units_off(y[denormal], np.copysign(np.float32(0), x[denormal]), function))
    at = int(np.argmax(off))
    return off[at], x[at], y[at]


@pytest.mark.parametrize("step", [4099, pytest.param(127, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_errors_stay_within_two_units_in_the_last_place(kind, step):
    function, allowed = FUNCTIONS[kind]
    op = OneOp(kind, [SPECIAL])
    patterns = np.arange(0, 2**32, step, dtype=np.uint32)
    for isa in SETS:
        with using(isa, 1):
            off, x, y = worst(op.run, patterns, function)
        assert off <= allowed, f"{kind}({x!r}) on {isa} is {y!r}: off by {off:.2f} units, {function(np.float64(x))!r}"
