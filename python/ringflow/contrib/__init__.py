"""Names that scripts for TensorFlow 1 take from ``contrib`` though they are core: recurrent cells, initializers."""
from ringflow.contrib import layers as layers, rnn as rnn
