"""Ranks with several CPU devices: the collectives and the variables that they keep equal are on one of them."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import loopback
from ringflow.graph.errors import InvalidArgumentError


def train(world, devices, config):
    with rf.Graph().as_default():
        x = h = rf.placeholder(rf.float32, [8, 4])
        for k, device in enumerate(devices):
            with rf.device(device):
                w = rf.Variable(np.full((4, 4), 0.1 * (k + 1), np.float32))
                h = rf.tanh(rf.matmul(h, w))
        loss = rf.reduce_mean(rf.square(h))
        step = rf.distribute(rf.train.GradientDescentOptimizer(0.5).minimize(loss), communicator=world)
        value = np.random.default_rng(world.rank).normal(size=(8, 4)).astype(np.float32)
        with rf.Session(config=config) as session:
            session.run(rf.global_variables_initializer())
            for _ in range(3):
                session.run(step, {x: value})
            return session.run(rf.trainable_variables())


def on_two(soft=False):
    return rf.ConfigProto(device_count={"CPU": 2}, allow_soft_placement=soft)


def test_ranks_with_two_devices_train_like_ranks_with_one():
    one = loopback.run(2, lambda world: train(world, ["", ""], None))
    free = loopback.run(2, lambda world: train(world, ["", ""], on_two()))
    soft = loopback.run(2, lambda world: train(world, ["/cpu:0", "/cpu:1"], on_two(soft=True)))
    for ranks in (free, soft):
        for a, b in zip(ranks[0] + ranks[1], one[0] + one[1]):
            np.testing.assert_array_equal(a, b)


def test_variables_of_a_distributed_graph_on_two_devices_are_refused_by_name():
    with pytest.raises(InvalidArgumentError, match=r"Variable_1: it must be on one device with 'Variable'"):
        loopback.run(2, lambda world: train(world, ["/cpu:0", "/cpu:1"], on_two()))
