"""scikit-learn's digits in batches, for the other scripts here."""
import numpy as np
from sklearn.datasets import load_digits


class Digits:
    """train_x, test_x: (n, 64) in [0, 1]; train_y, test_y: (n, 10), one for the digit and zeros."""

    def __init__(self, seed=0):
        digits = load_digits()
        x, y = (digits.data / 16).astype(np.float32), np.eye(10, dtype=np.float32)[digits.target]
        self._rng = np.random.default_rng(seed)
        order = self._rng.permutation(len(x))
        self.train_x, self.test_x = x[order[:1500]], x[order[1500:]]
        self.train_y, self.test_y = y[order[:1500]], y[order[1500:]]

    def next_batch(self, n):
        rows = self._rng.integers(0, len(self.train_x), n)
        return self.train_x[rows], self.train_y[rows]
