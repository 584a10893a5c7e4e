"""``rf.nn.rnn_cell``: the cells, under TensorFlow 1's names."""
from __future__ import annotations

from .cell_wrappers import DropoutWrapper, MultiRNNCell, ResidualWrapper
from .cells import BasicLSTMCell, BasicRNNCell, GRUCell, LSTMCell, LSTMStateTuple, RNNCell

__all__ = ["BasicLSTMCell", "BasicRNNCell", "DropoutWrapper", "GRUCell", "LSTMCell", "LSTMStateTuple", "MultiRNNCell",
           "RNNCell", "ResidualWrapper"]
