"""The graph layer: what to compute. Pure Python, NumPy and protobuf; imports no other layer.

The modules of this folder say what a graph is. What is done with one has a room of its own; each imports only from
those above it in this list (tests/test_layers.py):

    proto         messages of graph files, events and traces
    io            formats of files: records, checkpoints
    interpreter   runs a graph by the references of its op definitions
    ops           op definitions, one family a file
    control_flow  branches and loops
    autodiff      gradients
    placement     what goes to which device, by costs
    passes        what happens to a graph between session.run and the runtime
    state         what keeps its value from run to run: variables, queues, readers
    files         graphs as files and messages, and as text
    session       running
    functions     functions made of several ops
    nn            neural networks: functions, cells, recurrent networks, losses

``api`` gathers the names that users write.
"""
from . import ops as ops
