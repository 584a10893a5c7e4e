"""Nearest neighbour in TensorFlow 1 style: a digit is what the most similar known one is.

    python examples/tf1/nearest_neighbor.py
"""
import numpy as np
import ringflow as tf
from digits_data import Digits

digits = Digits()
known = tf.placeholder("float", [None, 64])
asked = tf.placeholder("float", [64])

distance = tf.reduce_sum(tf.abs(tf.add(known, tf.negative(asked))), reduction_indices=1)  # L1
pred = tf.arg_min(distance, 0)

right = 0
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for i in range(200):
        nearest = sess.run(pred, feed_dict={known: digits.train_x, asked: digits.test_x[i]})
        right += np.argmax(digits.train_y[nearest]) == np.argmax(digits.test_y[i])
print("Accuracy: %.4f" % (right / 200))
