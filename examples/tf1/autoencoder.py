"""An autoencoder in TensorFlow 1 style: digits of 64 pixels through 12 numbers and back.

    python examples/tf1/autoencoder.py
"""
import ringflow as tf
from digits_data import Digits

num_input, num_hidden_1, num_hidden_2 = 64, 40, 12
tf.set_random_seed(4)
digits = Digits()
X = tf.placeholder("float", [None, num_input])


def layer(value, n_out, name):
    with tf.variable_scope(name):
        w = tf.get_variable("w", [value.shape[-1], n_out], initializer=tf.glorot_uniform_initializer())
        b = tf.get_variable("b", [n_out], initializer=tf.zeros_initializer())
        return tf.nn.sigmoid(tf.add(tf.matmul(value, w), b))


encoded = layer(layer(X, num_hidden_1, "encoder_1"), num_hidden_2, "encoder_2")
decoded = layer(layer(encoded, num_hidden_1, "decoder_1"), num_input, "decoder_2")
loss = tf.reduce_mean(tf.pow(X - decoded, 2))
optimizer = tf.train.RMSPropOptimizer(0.005).minimize(loss)
baseline = tf.reduce_mean(tf.pow(X - tf.reduce_mean(X, 0), 2))  # what always the mean digit would give

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for i in range(1, 2001):
        batch_x, _ = digits.next_batch(64)
        _, value = sess.run([optimizer, loss], feed_dict={X: batch_x})
        if i % 400 == 0:
            print("Step %i: Minibatch Loss: %.5f" % (i, value))
    print("test error %.5f, of the mean digit %.5f" % tuple(sess.run([loss, baseline], {X: digits.test_x})))
