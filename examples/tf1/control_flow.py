"""Loops and branches in TensorFlow 1 style: roots by Newton's method, and a gradient through the loop that finds them.

    python examples/tf1/control_flow.py
"""
import ringflow as tf

a = tf.placeholder(tf.float64, [])


def not_done(x, i):
    return tf.logical_and(tf.greater(tf.abs(x * x - a), 1e-12), tf.less(i, 50))


def improve(x, i):
    return 0.5 * (x + a / x), i + 1


root, rounds = tf.while_loop(not_done, improve, [tf.identity(a), tf.constant(0)])
slope = tf.gradients(root, a)[0]
size = tf.cond(tf.greater(root, 10.0), lambda: tf.constant("large"), lambda: tf.constant("small"))
table = tf.map_fn(lambda x: x * x, tf.range(1.0, 5.0))
sums = tf.scan(lambda total, x: total + x, table)

with tf.Session() as sess:
    for value in (2.0, 9.0, 400.0):
        r, n, s, word = sess.run([root, rounds, slope, size], {a: value})
        print("sqrt(%g) = %.10f after %d rounds, d sqrt = %.6f, %s" % (value, r, n, s, word.decode()))
    print("squares", sess.run(table).tolist(), "sums", sess.run(sums).tolist())
