"""Trains a network to read digits, on as many ranks as there are:

    python examples/digits.py
    mpirun -np 2 python examples/digits.py --epochs 20
    mpirun -np 2 python examples/digits.py --data /usr/share/datasets/fashion-mnist --epochs 3
    python examples/digits.py --logdir logs && tensorboard --logdir logs
"""
import argparse
import hashlib
import sys

import datasets
import numpy as np
import ringflow as rf
from networks import lenet, small_net
from progress import Progress

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", metavar="DIR", help="a folder of IDX files (MNIST...); default: scikit-learn's digits")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--batch", type=int, default=96, help="examples of a step, on all ranks together")
parser.add_argument("--lr", type=float, default=0.001)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--logdir", metavar="DIR", help="write the loss and the graph for TensorBoard there")
args = parser.parse_args()

world = rf.init()
try:
    train_x, train_y, test_x, test_y = datasets.load(args.data)
    shards = datasets.Shards(len(train_y), args.batch, args.seed, world.rank, world.size)
except datasets.DataError as error:
    sys.exit(str(error))

rf.set_random_seed(args.seed)
x = rf.placeholder(rf.float32, [None, *train_x.shape[1:]], name="images")
y = rf.placeholder(rf.int32, [None], name="labels")
logits = lenet(x) if train_x.shape[1:3] == (28, 28) else small_net(x)
loss = rf.reduce_mean(rf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
right = rf.reduce_sum(rf.cast(rf.equal(rf.argmax(logits, 1, output_type=rf.int32), y), rf.int32))
train_op = rf.distribute(rf.train.AdamOptimizer(args.lr).minimize(loss))
fetches = [loss, train_op]
writer = None
if args.logdir:
    rf.summary.scalar("loss", loss)
    fetches.append(rf.summary.merge_all())  # on every rank: all run the same graph
    if world.rank == 0:
        writer = rf.summary.FileWriter(args.logdir, rf.get_default_graph())

with rf.Session() as session:
    session.run(rf.global_variables_initializer())
    with Progress(args.epochs * shards.steps, args.batch, show=world.rank == 0) as progress:
        for epoch in range(args.epochs):
            for rows in shards.of_epoch(epoch):
                value, _, *summary = session.run(fetches, {x: train_x[rows], y: train_y[rows]})
                progress.step(value)
                if writer is not None:
                    writer.add_summary(summary[0], progress.done)
    count = 0  # of right answers; each rank tests its share
    for rows in np.array_split(np.arange(world.rank, len(test_y), world.size), len(test_y) // (500 * world.size) + 1):
        count += session.run(right, {x: test_x[rows], y: test_y[rows]})
    weights = b"".join(w.tobytes() for w in session.run(rf.trainable_variables()))

if writer is not None:
    writer.close()
accuracy = world.allreduce(np.int64(count)) / len(test_y)
checksums = set(world.allgather_object(hashlib.sha256(weights).hexdigest()[:16]))
if world.rank == 0:
    verdict = "equal on all" if len(checksums) == 1 else "DIFFERENT on the"
    print(f"weights {' '.join(checksums)}: {verdict} {world.size} ranks")
    print(f"test accuracy {accuracy:.4f}")
