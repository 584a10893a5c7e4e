"""k-means in TensorFlow 1 style: centres of clusters, by assignment and mean in turn (Lloyd's algorithm).

    python examples/tf1/kmeans.py
"""
import numpy as np
import ringflow as tf

K, N = 4, 800
rng = np.random.default_rng(1)
true_centres = np.array([[0, 0], [6, 1], [1, 7], [7, 8]], np.float32)
data = (true_centres[rng.integers(0, K, N)] + rng.standard_normal((N, 2))).astype(np.float32)

points = tf.constant(data)
centres = tf.Variable(tf.slice(tf.random_shuffle(points, seed=4), [0, 0], [K, -1]))
assignments = tf.Variable(tf.zeros([N], dtype=tf.int64), trainable=False)

distances = tf.reduce_sum(tf.square(tf.subtract(tf.expand_dims(points, 0), tf.expand_dims(centres, 1))), 2)
nearest = tf.argmin(distances, 0)
changed = tf.reduce_any(tf.not_equal(nearest, assignments))
total = tf.unsorted_segment_sum(points, nearest, K)
count = tf.unsorted_segment_sum(tf.ones([N, 1]), nearest, K)
means = total / tf.maximum(count, 1.0)

with tf.control_dependencies([changed]):
    update = tf.group(centres.assign(means), assignments.assign(nearest))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    moved, rounds = True, 0
    while moved and rounds < 50:
        moved, _, spread = sess.run([changed, update, tf.reduce_mean(tf.reduce_min(distances, 0))])
        rounds += 1
        print("Round", rounds, "mean squared distance %.4f" % spread)
    found = np.array(sorted(sess.run(centres).tolist()))
print("Centres:", np.round(found, 1).tolist())
print("mean squared distance %.4f (2 is the spread of the clusters themselves)" % spread)
