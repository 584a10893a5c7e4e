"""Graphs made and run by ringflow, for TensorFlow to run again: each builder returns the runs of one session.

A run is (feeds {tensor name: array}, fetches [names]); an operation is fetched for what it does. Update orders are
written into the graphs (graph_util.order_updates), since TensorFlow leaves them open.
"""
import pathlib
import sys

import numpy as np
import ringflow as rf
from ringflow.graph.opdef import OPS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks"))
import workload_inputs as inputs  # noqa: E402
import workloads  # noqa: E402

BUILDERS = {}


def case(function):
    BUILDERS[function.__name__] = function
    return function


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def _initial(variables, values):
    """Runs that give variables their first values: all of them by their initializers, some fed."""
    loads = [({v.initial_value.name: values[k]}, [v.initializer.name]) for k, v in variables.items()]
    return [({}, [rf.global_variables_initializer().name]), *loads]


def workload(name, count=3):
    """`count` training steps of a benchmark workload."""
    weights = inputs.initial_weights(name)
    made = workloads.build(name)
    steps = [({made.x.name: x, made.y.name: y}, [made.loss.name, made.train_op.name])
             for x, y in inputs.batches(name, count=count)]
    return _initial(made.variables, weights) + steps


def _training(build_loss, optimizer, feeds):
    """Four steps of an optimizer and the variables after them."""
    step = rf.train.get_or_create_global_step()
    x = rf.placeholder(rf.float32, [None, 5], name="x")
    loss = build_loss(x)
    train = optimizer(step).minimize(loss, step)
    runs = [({}, [rf.global_variables_initializer().name])]
    runs += [({"x:0": f}, [loss.name, train.name]) for f in feeds]
    return runs + [({}, [v.value().name for v in rf.global_variables()])]


def _net(use_resource):
    def loss(x):
        w = rf.Variable(normal(5, 4, seed=1), name="w", use_resource=use_resource)
        b = rf.Variable(np.zeros(4, np.float32), name="b", use_resource=use_resource)
        table = rf.Variable(normal(6, 4, seed=2), name="table", use_resource=use_resource)
        y = rf.tanh(rf.matmul(x, w) + b) * rf.gather(table, [0, 5, 2, 2])
        return rf.reduce_mean(rf.square(y - 0.3))
    return loss


_BATCHES = [normal(4, 5, seed=k) for k in range(4)]


@case
def gradient_descent_with_decaying_rate():
    return _training(_net(False), lambda step: rf.train.GradientDescentOptimizer(
        rf.train.exponential_decay(0.5, step, 2, 0.5, staircase=True)), _BATCHES)


@case
def momentum_nesterov_on_references():
    return _training(_net(False), lambda step: rf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True), _BATCHES)


@case
def adagrad_on_resources():
    return _training(_net(True), lambda step: rf.train.AdagradOptimizer(0.1), _BATCHES)


@case
def rmsprop_on_resources():
    return _training(_net(True), lambda step: rf.train.RMSPropOptimizer(0.01, momentum=0.5), _BATCHES)


@case
def adam_on_references():
    return _training(_net(False), lambda step: rf.train.AdamOptimizer(0.01), _BATCHES)


@case
def reads_and_updates_of_one_variable():
    v = rf.Variable(np.arange(4, dtype=np.float32), name="v")
    before = rf.identity(rf.square(v), name="before")
    update = rf.scatter_add(v, [1, 3], rf.gather(before, [2, 3]), name="update")
    after = rf.add(rf.identity(update), v.value(), name="after")
    more = v.assign_sub(rf.ones([4]), name="more")
    return [({}, [v.initializer.name])] + 3 * [({}, [before.name, after.name, more.name])]


@case
def text_to_features():
    lines = rf.placeholder(rf.string, [None], name="lines")
    number, word = OPS["DecodeCSV"](lines, [np.array([0.5], np.float32), np.array([b"?"], object)])
    rows = OPS["StringToHashBucketFast"](OPS["StringJoin"]([word, word], separator="-"), num_buckets=7)
    table = rf.Variable(normal(7, 3), name="table")
    y = rf.reduce_sum(rf.gather(table, rows), 1) + number
    known = OPS["StaticRegexFullMatch"](word, pattern="[a-c]+")
    feeds = {"lines:0": np.array([b"1.5,abc", b",dog", b"2,cab", b"-1,"], object)}
    return [({}, [table.initializer.name]), (feeds, [y.name, rows.name, known.name])]


@case
def images():
    x = rf.placeholder(rf.float32, [2, 9, 9, 4], name="x")
    deep = OPS["DepthwiseConv2dNative"](x, normal(3, 3, 4, 2), strides=[1, 2, 2, 1], padding="SAME")
    y = OPS["LRN"](rf.nn.max_pool(deep, [1, 3, 3, 1], [1, 1, 1, 1], "SAME"), depth_radius=2)
    y = OPS["ResizeNearestNeighbor"](y, np.array([7, 8], np.int32))
    y = rf.nn.avg_pool(rf.nn.conv2d(y, normal(1, 1, 8, 3), [1, 1, 1, 1], "VALID"), [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
    y, mean, variance = rf.nn.fused_batch_norm(y, np.ones(3, np.float32), np.zeros(3, np.float32))[:3]
    gradient, = rf.gradients(rf.reduce_sum(y * rf.sigmoid(y)), [x])
    return [({"x:0": normal(2, 9, 9, 4)}, [y.name, mean.name, variance.name, gradient.name])]


@case
def arrays():
    x = rf.placeholder(rf.float32, [None, 6], name="x")
    top, at = rf.nn.top_k(x, 3)
    parts = rf.dynamic_partition(x, rf.cast(rf.greater(x[:, 0], 0.0), rf.int32), num_partitions=2)
    fetches = [
        top, at, rf.dynamic_stitch([[1, 0], [2]], [x[:2], x[2:3]]), rf.one_hot(rf.argmax(x, 1), 6),
        rf.cumsum(x, 1, exclusive=True), rf.pad(x[1:3, ::-2], [[1, 0], [0, 2]]), rf.tile(x[0], [2]),
        rf.concat([rf.transpose(x), rf.transpose(-x)], 1), rf.stack(rf.unstack(x, 6, 1)[:2]), *parts,
        rf.where(rf.less(x, -0.5)), rf.gather_nd(x, [[0, 1], [3, 5]]), rf.scatter_nd([[1], [1]], x[:2], [3, 6]),
        rf.reduce_logsumexp(x, 0), rf.unsorted_segment_sum(x, [1, 0, 1, 3], 4), rf.matrix_band_part(x, 1, 2),
        *rf.unique(rf.cast(x[0] * 2.0, rf.int32)), rf.strided_slice(x, [-1, 0], [0, 5], [-2, 3]),
    ]
    loss = rf.add_n([rf.reduce_sum(rf.square(t)) for t in fetches if t.dtype == rf.float32])
    gradient, = rf.gradients(loss, [x])
    return [({"x:0": normal(4, 6)}, [t.name for t in [*fetches, gradient]])]


@case
def sparse_inputs():
    table = rf.Variable(normal(9, 4), name="table")
    rows = rf.placeholder(rf.int32, [None], name="rows")
    bags = OPS["SparseSegmentMean"](table.value(), rows, np.array([0, 0, 1, 3, 3], np.int32))
    dense = OPS["SparseToDense"](np.array([[0, 1], [2, 0]]), np.array([3, 4]), normal(2), np.float32(0))
    loss = rf.reduce_sum(rf.square(bags)) + rf.reduce_sum(dense)
    train = rf.train.AdagradOptimizer(0.1).minimize(loss)
    runs = [({}, [rf.global_variables_initializer().name])]
    runs += [({"rows:0": np.array(r, np.int32)}, [loss.name, train.name]) for r in ([1, 2, 2, 8, 0], [3, 3, 3, 1, 2])]
    return runs + [({}, [table.value().name])]


@case
def summaries():
    x = rf.placeholder(rf.float32, [None], name="x")
    rf.summary.scalar("mean", rf.reduce_mean(x))
    with rf.name_scope("layer"):
        rf.summary.scalar("sum", rf.reduce_sum(x))
    return [({"x:0": normal(8)}, [rf.summary.merge_all().name])]


@case
def mixed_dtypes():
    i = rf.placeholder(rf.int32, [4], name="i")
    d = rf.cast(i, rf.float64) / 7
    h = rf.cast(d, rf.float16)
    return [({"i:0": np.array([-7, 3, 9, -2], np.int32)}, [t.name for t in (
        d, h, rf.cast(h, rf.float32), rf.floordiv(i, 4), rf.mod(i, 4), rf.cast(d, rf.bool), rf.maximum(d, 0.25),
        rf.cast(rf.round(d), rf.int64), rf.squared_difference(i, 2), rf.logical_not(rf.equal(i, 3)))])]


@case
def conditional_with_gradient():
    x = rf.placeholder(rf.float32, [3], name="x")
    w = rf.Variable(normal(3), name="w")
    y = rf.cond(rf.reduce_sum(x) > 0, lambda: rf.square(x) * w, lambda: rf.exp(x) + rf.stop_gradient(w))
    gradient = rf.gradients(rf.reduce_sum(y), [x])[0]
    feeds = [{"x:0": np.array(v, np.float32)} for v in ([1, 2, 3], [-1, -2, 1])]
    return [({}, [w.initializer.name])] + [(f, [y.name, gradient.name]) for f in feeds]


@case
def loop_with_gradient():
    x = rf.placeholder(rf.float32, [4], name="x")
    n = rf.placeholder(rf.int32, [], name="n")
    w = rf.Variable(np.float32(0.7), name="w")
    y = rf.while_loop(lambda i, h: i < n, lambda i, h: (i + 1, rf.tanh(h * w + x)), [0, rf.zeros([4])])[1]
    loss = rf.reduce_sum(rf.square(y))
    gradients = rf.gradients(loss, [x, w])
    return [({}, [w.initializer.name])] + [
        ({"x:0": normal(4), "n:0": np.int32(k)}, [loss.name, *[g.name for g in gradients]]) for k in (0, 1, 7)]


@case
def recurrent_network_in_a_loop():
    x = rf.placeholder(rf.float32, [2, 5, 3], name="x")
    w = rf.Variable(normal(7, 4) * np.float32(0.5), name="w")

    def step(h, frame):
        return rf.tanh(rf.matmul(rf.concat([frame, h], 1), w))

    states = rf.scan(step, rf.transpose(x, [1, 0, 2]), initializer=rf.zeros([2, 4]))
    loss = rf.reduce_mean(rf.square(states))
    train = rf.train.GradientDescentOptimizer(0.5).minimize(loss)
    runs = [({}, [rf.global_variables_initializer().name])]
    runs += [({"x:0": normal(2, 5, 3, seed=k)}, [loss.name, train.name]) for k in range(3)]
    return runs + [({}, [w.value().name])]


@case
def queue_of_batches():
    q = rf.FIFOQueue(10, [rf.int32, rf.float32], shapes=[[], [2]], name="q")
    a, b = rf.placeholder(rf.int32, [None], name="a"), rf.placeholder(rf.float32, [None, 2], name="b")
    put = q.enqueue_many([a, b])
    first, (many, rows), size = q.dequeue(), q.dequeue_many(3), q.size()
    return [({"a:0": np.arange(6, dtype=np.int32), "b:0": normal(6, 2)}, [put.name]),
            ({}, [t.name for t in first]), ({}, [many.name, rows.name]), ({}, [size.name])]
