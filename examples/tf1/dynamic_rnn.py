"""A recurrent network in TensorFlow 1 style, in a loop: which sequences, of 5 to 20 steps, rise steadily?

    python examples/tf1/dynamic_rnn.py
"""
import numpy as np
import ringflow as tf

max_len, n_hidden = 20, 32
tf.set_random_seed(2)
rng = np.random.default_rng(2)


def make(n):
    """Sequences (n, max_len, 1), labels (n,) and lengths (n,): half rise by equal steps, half are noise."""
    data = np.zeros((n, max_len, 1), np.float32)
    labels, lengths = rng.integers(0, 2, n), rng.integers(5, max_len + 1, n)
    for row, label, length in zip(data, labels, lengths):
        values = rng.uniform(0, 0.5) + np.arange(length) * 0.02 if label else rng.uniform(0, 1, length)
        row[:length, 0] = values
    return data, labels.astype(np.int32), lengths.astype(np.int32)


x = tf.placeholder(tf.float32, [None, max_len, 1])
y = tf.placeholder(tf.int32, [None])
seqlen = tf.placeholder(tf.int32, [None])

cell = tf.nn.rnn_cell.MultiRNNCell([tf.nn.rnn_cell.GRUCell(n_hidden), tf.nn.rnn_cell.BasicLSTMCell(n_hidden)])
outputs, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32, sequence_length=seqlen)

index = tf.range(0, tf.shape(outputs)[0]) * max_len + (seqlen - 1)  # the last output of each sequence
last = tf.gather(tf.reshape(outputs, [-1, n_hidden]), index)
W = tf.get_variable("W", [n_hidden, 2])
b = tf.get_variable("b", [2], initializer=tf.zeros_initializer())
logits = tf.matmul(last, W) + b

cost = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=y))
train_op = tf.train.AdamOptimizer(0.005).minimize(cost)
accuracy = tf.reduce_mean(tf.cast(tf.nn.in_top_k(logits, y, 1), tf.float32))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(1, 301):
        data, labels, lengths = make(64)
        feed = {x: data, y: labels, seqlen: lengths}
        sess.run(train_op, feed_dict=feed)
        if step % 75 == 0:
            print("Step %d, loss %.4f, accuracy %.3f" % (step, *sess.run([cost, accuracy], feed_dict=feed)))
    data, labels, lengths = make(500)
    print("Testing Accuracy: %.4f" % sess.run(accuracy, feed_dict={x: data, y: labels, seqlen: lengths}))
