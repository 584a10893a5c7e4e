"""A convolutional network in TensorFlow 1 style, with variable scopes.

    python examples/tf1/convolutional_network.py
"""
import ringflow as tf
from digits_data import Digits

tf.set_random_seed(1)
digits = Digits()
x = tf.placeholder(tf.float32, [None, 64], name="x")
y = tf.placeholder(tf.float32, [None, 10], name="y")
keep_prob = tf.placeholder(tf.float32, name="keep_prob")


def conv_layer(value, n_out, scope):
    with tf.variable_scope(scope):
        n_in = value.get_shape().as_list()[-1]
        w = tf.get_variable("w", [3, 3, n_in, n_out], initializer=tf.truncated_normal_initializer(stddev=0.1))
        b = tf.get_variable("b", [n_out], initializer=tf.constant_initializer(0.1))
        value = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(value, w, strides=[1, 1, 1, 1], padding="SAME"), b))
        return tf.nn.max_pool(value, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def fully_connected(value, n_out, scope):
    with tf.variable_scope(scope):
        w = tf.get_variable("w", [value.get_shape()[1], n_out])
        b = tf.get_variable("b", [n_out], initializer=tf.zeros_initializer())
        return tf.nn.xw_plus_b(value, w, b)


net = conv_layer(tf.reshape(x, [-1, 8, 8, 1]), 16, "conv1")
net = conv_layer(net, 32, "conv2")
net = tf.reshape(net, [-1, 2 * 2 * 32])
net = tf.nn.dropout(tf.nn.relu(fully_connected(net, 64, "fc1")), keep_prob)
logits = fully_connected(net, 10, "out")

loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
global_step = tf.train.get_or_create_global_step()
rate = tf.train.exponential_decay(0.003, global_step, 200, 0.8, staircase=True)
train_op = tf.train.AdamOptimizer(rate).minimize(loss, global_step=global_step)
accuracy = tf.reduce_mean(tf.to_float(tf.equal(tf.argmax(logits, 1), tf.argmax(y, 1))))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    print("Variables:", [v.op.name for v in tf.trainable_variables()])
    for step in range(1, 601):
        batch_x, batch_y = digits.next_batch(64)
        sess.run(train_op, {x: batch_x, y: batch_y, keep_prob: 0.75})
        if step % 150 == 0:
            value, right = sess.run([loss, accuracy], {x: batch_x, y: batch_y, keep_prob: 1.0})
            print("Iter %d, Minibatch Loss= %.4f, Training Accuracy= %.3f" % (step, value, right))
    print("Testing Accuracy: %.4f" % sess.run(accuracy, {x: digits.test_x, y: digits.test_y, keep_prob: 1.0}))
