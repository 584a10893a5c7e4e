"""Logistic regression in TensorFlow 1 style: digits by one matrix and a softmax.

    python examples/tf1/logistic_regression.py
"""
import ringflow as tf
from digits_data import Digits

digits = Digits()
x = tf.placeholder(tf.float32, [None, 64])
y = tf.placeholder(tf.float32, [None, 10])
W = tf.Variable(tf.zeros([64, 10]))
b = tf.Variable(tf.zeros([10]))

pred = tf.nn.softmax(tf.matmul(x, W) + b)
cost = tf.reduce_mean(-tf.reduce_sum(y * tf.log(pred + 1e-9), reduction_indices=1))
optimizer = tf.train.GradientDescentOptimizer(0.5).minimize(cost)
accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(pred, 1), tf.argmax(y, 1)), tf.float32))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(1, 1001):
        batch_x, batch_y = digits.next_batch(50)
        _, c = sess.run([optimizer, cost], feed_dict={x: batch_x, y: batch_y})
        if step % 200 == 0:
            print("Step:", step, "cost=%.4f" % c)
    print("Accuracy: %.4f" % accuracy.eval({x: digits.test_x, y: digits.test_y}))
