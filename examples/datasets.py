"""Image datasets of the examples: scikit-learn's handwritten digits, or a folder of IDX files as MNIST's.

A dataset is (train images, train labels, test images, test labels): images float32 (n, height, width, 1) in [0, 1],
labels int32 (n,).
"""
import gzip
import pathlib

import numpy as np


class DataError(Exception):
    """The data cannot be read; the text says what to do."""


def load(folder=None):
    """The IDX files of `folder`, or scikit-learn's digits (8x8; 1437 to train on, 360 to test)."""
    return idx_folder(pathlib.Path(folder)) if folder else digits()


def digits():
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("[digits] scikit-learn, which has the handwritten digits, is not installed. "
                        "Fix: pip install scikit-learn, or give --data DIR with MNIST's files") from None
    data = load_digits()
    images = (data.images[..., None] / 16).astype(np.float32)
    labels = data.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(labels))  # the same split in every run and on every rank
    train, test = order[:-360], order[-360:]
    return images[train], labels[train], images[test], labels[test]


def idx_folder(folder):
    """train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-..., each also with .gz or a dot before idx."""
    if not folder.is_dir():
        raise DataError(f"[data] {folder} is not a folder. Fix: give --data the folder with the IDX files")
    parts = [_read(_find(folder, f"{part}-{kind}", f"idx{dims}-ubyte"), dims)
             for part in ("train", "t10k") for kind, dims in (("images", 3), ("labels", 1))]
    for part, images, labels in (("train", *parts[:2]), ("t10k", *parts[2:])):
        if len(images) != len(labels):
            raise DataError(f"[data] {folder}: {part} has {len(images)} images but {len(labels)} labels")
        if labels.size and labels.max() > 9:
            raise DataError(f"[data] {folder}: {part} has the label {labels.max()}: these examples know classes 0 to 9")
    return tuple((p[..., None] / np.float32(255)) if p.ndim == 3 else p.astype(np.int32) for p in parts)


def _find(folder, stem, suffix):
    names = [f"{stem}{dot}{suffix}{gz}" for gz in ("", ".gz") for dot in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    raise DataError(f"[data] {folder} has no {names[0]} (or .gz): there is {there}. "
                    "Fix: give --data the folder with MNIST's four files (Debian: /usr/share/datasets/fashion-mnist)")


def _read(path, dims):
    """An IDX file of unsigned bytes: magic 0 0 8 dims, big-endian sizes, data."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError) as e:
        raise DataError(f"[data] {path} cannot be read: {e}") from None
    header = 4 + 4 * dims
    if len(data) < header or data[:4] != bytes([0, 0, 8, dims]):
        raise DataError(f"[data] {path} is no IDX file of {dims} dimensions: it begins with "
                        f"{data[:4].hex(' ') or 'nothing'}, not 00 00 08 0{dims}. Fix: download it again")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", dims, 4))
    if len(data) - header != np.prod(shape, dtype=np.int64):
        raise DataError(f"[data] {path} says {' x '.join(map(str, shape))}, but holds {len(data) - header} bytes of "
                        "data. Fix: it is truncated; download it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


class Shards:
    """Which examples rank `rank` of `size` trains on in each step.

    `batch` counts the examples of a step on all ranks. They are the same set for any number of ranks: their order
    follows from seed and epoch, and each rank takes its part. What is left after the last full batch is left out.
    """

    def __init__(self, count, batch, seed, rank, size):
        if batch < 1 or batch % size:
            raise DataError(f"[shards] a batch of {batch} cannot be shared equally by {size} ranks. "
                            f"Fix: give --batch a multiple of {size}")
        if batch > count:
            raise DataError(f"[shards] a batch of {batch} is more than the {count} training examples")
        self.count, self.batch, self.seed, self.rank, self.part = count, batch, seed, rank, batch // size
        self.steps = count // batch

    def of_epoch(self, epoch):
        """Index arrays, one for each step."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        for step in range(self.steps):
            start = step * self.batch + self.rank * self.part
            yield order[start:start + self.part]
