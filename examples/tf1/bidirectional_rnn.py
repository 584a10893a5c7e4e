"""A bidirectional recurrent network in TensorFlow 1 style: it marks in each sequence the steps equal to the one after.

Only a network that also reads backwards can know what comes after.

    python examples/tf1/bidirectional_rnn.py
"""
import numpy as np
import ringflow as tf

steps, symbols, n_hidden = 12, 4, 24
tf.set_random_seed(3)
rng = np.random.default_rng(3)


def make(n):
    data = rng.integers(0, symbols, (n, steps))
    same_as_next = np.hstack([data[:, :-1] == data[:, 1:], np.zeros((n, 1), bool)])
    return data, same_as_next.astype(np.float32)


x = tf.placeholder(tf.int64, [None, steps])
y = tf.placeholder(tf.float32, [None, steps])
forward, backward = tf.nn.rnn_cell.GRUCell(n_hidden), tf.nn.rnn_cell.GRUCell(n_hidden)
outputs, _ = tf.nn.bidirectional_dynamic_rnn(forward, backward, tf.one_hot(x, symbols), dtype=tf.float32)
joined = tf.reshape(tf.concat(outputs, 2), [-1, 2 * n_hidden])
w = tf.get_variable("w", [2 * n_hidden, 1])
b = tf.get_variable("b", [1], initializer=tf.zeros_initializer())
logits = tf.reshape(tf.matmul(joined, w) + b, [-1, steps])

loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))
train_op = tf.train.AdamOptimizer(0.01).minimize(loss)
accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.greater(logits, 0.0), tf.greater(y, 0.5)), tf.float32))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(1, 301):
        data, marks = make(64)
        _, value = sess.run([train_op, loss], {x: data, y: marks})
        if step % 75 == 0:
            print("Step %d, loss %.4f" % (step, value))
    data, marks = make(500)
    print("Testing Accuracy: %.4f (all unmarked: %.4f)" % (sess.run(accuracy, {x: data, y: marks}), 1 - marks.mean()))
