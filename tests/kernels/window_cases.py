"""Cases of ops that slide a window over images: sizes, strides, dilations, paddings, batches and channels, drawn so
that few cases cover all of them."""
from dataclasses import dataclass

import numpy as np

MOST_CHANNELS = 67  # more than four vectors of 16, and odd
PADDINGS = ("SAME", "VALID", "EXPLICIT")


@dataclass(frozen=True)
class Window:
    """An op's geometry; pairs are (rows, columns). `channels`, `out_channels`: before and after a convolution."""

    batch: int
    image: tuple[int, int]
    size: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    padding: str
    pads: tuple[int, ...]
    channels: int
    out_channels: int

    def __str__(self):
        text = "x".join(map(str, (self.batch, *self.image, self.channels)))
        text += "-" + "x".join(map(str, (*self.size, self.out_channels)))
        return f"{text}-s{self.strides}-d{self.dilations}-{self.padding}".replace(" ", "") + (
            "".join(map(str, self.pads)) if self.padding == "EXPLICIT" else "")

    def attrs(self, *, dilations=True):
        attrs = {"strides": [1, *self.strides, 1], "padding": self.padding}
        if dilations:
            attrs["dilations"] = [1, *self.dilations, 1]
        if self.padding == "EXPLICIT":
            attrs["explicit_paddings"] = [0, 0, *self.pads, 0, 0]
        return attrs

    @property
    def x(self):
        return (self.batch, *self.image, self.channels)

    def y(self, channels):
        """The shape of the output."""
        counts = []
        for axis in (0, 1):
            n, reach = self.image[axis], (self.size[axis] - 1) * self.dilations[axis] + 1
            if self.padding == "EXPLICIT":
                n += sum(self.pads[2 * axis:2 * axis + 2])
            stride = self.strides[axis]
            counts.append(-(-n // stride) if self.padding == "SAME" else (n - reach) // stride + 1)
        return (self.batch, *counts, channels)


def draw(rng, number, channels, out_channels, *, paddings=PADDINGS, dilated=True):
    """The case of that number. Consecutive numbers cycle through paddings, strides and dilations, and everything else
    is drawn by `rng`."""
    padding = paddings[number % len(paddings)]
    pick = number // len(paddings)
    strides = 1 + pick % 3, 1 + pick // 3 % 3
    dilations = (1 + pick // 2 % 3, 1 + pick // 5 % 3) if dilated else (1, 1)
    size = tuple(int(k) for k in rng.choice([1, 2, 3, 3, 5], 2))
    pads = tuple(int(p) for p in rng.integers(0, 3, 4)) if padding == "EXPLICIT" else (0, 0, 0, 0)
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilations)]
    least = [1 if padding == "SAME" else max(1, r - pads[2 * i] - pads[2 * i + 1]) for i, r in enumerate(reach)]
    image = tuple(int(n) for n in least + rng.integers(0, 7, 2))
    batch = int(rng.choice([0, 1, 1, 2, 3]))
    return Window(batch, image, size, strides, dilations, padding, pads, channels, out_channels)


def cases(seed, count=2 * MOST_CHANNELS, **options):
    """`count` cases; twice MOST_CHANNELS have every number of channels before and after, in different pairs."""
    rng = np.random.default_rng(seed)
    channels = [c for _ in range(-(-count // MOST_CHANNELS)) for c in rng.permutation(MOST_CHANNELS) + 1]
    out_channels = [c for _ in range(-(-count // MOST_CHANNELS)) for c in rng.permutation(MOST_CHANNELS) + 1]
    return [draw(rng, i, int(channels[i]), int(out_channels[i]), **options) for i in range(count)]
