"""Session.clear forgets variables, not the communicator."""
import numpy as np
import ringflow as rf
from ringflow.collectives import loopback

from .test_strategy_allreduce import two_layers


def test_ranks_train_on_after_a_reset():
    def body(world):
        with rf.Graph().as_default() as graph, rf.Session(graph=graph) as session:
            x, y, loss = two_layers(seed=world.rank)
            step = rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(loss), communicator=world)
            init = rf.global_variables_initializer()
            feeds = {x: np.ones((2, 4), np.float32), y: np.ones((2, 1), np.float32)}
            weights = []
            for _ in range(2):
                session.run(init)
                session.run(step, feeds)
                session.run([step, loss], feeds)
                weights.append(session.run(rf.trainable_variables()))
                session.clear()
            return weights

    results = loopback.run(2, body)
    expected = results[0][0]
    for weights in (w for rank in results for w in rank):
        for a, b in zip(weights, expected):
            np.testing.assert_array_equal(a, b)
