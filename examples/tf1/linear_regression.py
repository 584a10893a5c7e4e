"""Linear regression in TensorFlow 1 style: a line through noisy points, by gradient descent.

    python examples/tf1/linear_regression.py
"""
import numpy as np
import ringflow as tf

rng = np.random.default_rng(0)
train_x = rng.uniform(-1, 1, 200).astype(np.float32)
train_y = 3.0 * train_x - 1.0 + 0.1 * rng.standard_normal(200).astype(np.float32)

X = tf.placeholder("float")
Y = tf.placeholder("float")
W = tf.Variable(0.0, name="weight")
b = tf.Variable(0.0, name="bias")

prediction = tf.add(tf.multiply(X, W), b)
cost = tf.reduce_mean(tf.pow(prediction - Y, 2))
optimizer = tf.train.GradientDescentOptimizer(learning_rate=0.05).minimize(cost)

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for epoch in range(20):
        for x, y in zip(train_x, train_y):
            sess.run(optimizer, feed_dict={X: x, Y: y})
        if (epoch + 1) % 5 == 0:
            c = sess.run(cost, feed_dict={X: train_x, Y: train_y})
            print("Epoch:", "%02d" % (epoch + 1), "cost=%.4f" % c, "W=%.3f" % sess.run(W), "b=%.3f" % sess.run(b))
    print("slope %.2f intercept %.2f (3.00 and -1.00 made the points)" % tuple(sess.run([W, b])))
