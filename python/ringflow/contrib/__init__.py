"""Names that scripts for TensorFlow 1 take from ``contrib`` though they are core: the recurrent cells and networks."""
from ringflow.contrib import rnn as rnn
