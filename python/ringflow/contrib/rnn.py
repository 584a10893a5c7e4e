"""``contrib.rnn``: where the cells and the unrolled networks of ``rf.nn`` were before."""
from ringflow.graph.nn.nn import static_bidirectional_rnn as static_bidirectional_rnn, static_rnn as static_rnn
from ringflow.graph.nn.rnn_cell import *  # noqa: F403
