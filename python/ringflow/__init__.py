"""ringflow: dataflow training for people who own mpirun.

Build a graph, differentiate it, distribute it over the ranks that mpirun started, and run it:

    import ringflow as rf

    x = rf.placeholder(rf.float32, [None, 784])
    ...
    train_op = rf.distribute(rf.train.MomentumOptimizer(0.01, 0.9).minimize(loss))
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        session.run(train_op, {x: batch})

This module only re-exports: the layers are ringflow.graph, .kernels, .collectives, .train and .launch.
"""
from ringflow import collectives as collectives, contrib as contrib, graph as graph, kernels as kernels, train as train
from ringflow.collectives import (
    distribute as distribute,
    init as init,
    local_rank as local_rank,
    local_size as local_size,
    rank as rank,
    size as size,
)
from ringflow.graph import app as app, errors as errors
from ringflow.graph.api import *  # noqa: F403
from ringflow.graph.app import flags as flags
from ringflow.graph.files import graph_util as graph_util
from ringflow.graph.nn import losses as losses, nn as nn
from ringflow.graph.session import profiler as profiler
from ringflow.graph.state import initializers as initializers
from ringflow.kernels import python_io as python_io
from ringflow.train import summary as summary
from ringflow.version import __version__ as __version__
