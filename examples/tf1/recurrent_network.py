"""A recurrent network in TensorFlow 1 style, unrolled: an LSTM reads a digit row by row.

    python examples/tf1/recurrent_network.py
"""
import ringflow as tf
from digits_data import Digits

timesteps, num_input, num_hidden, num_classes = 8, 8, 48, 10
tf.set_random_seed(1)
digits = Digits()

X = tf.placeholder("float", [None, timesteps, num_input])
Y = tf.placeholder("float", [None, num_classes])
weights = tf.Variable(tf.random_normal([num_hidden, num_classes], stddev=0.1))
biases = tf.Variable(tf.random_normal([num_classes], stddev=0.1))


def RNN(x):
    x = tf.unstack(x, timesteps, 1)
    lstm_cell = tf.nn.rnn_cell.BasicLSTMCell(num_hidden, forget_bias=1.0)
    outputs, states = tf.nn.static_rnn(lstm_cell, x, dtype=tf.float32)
    return tf.matmul(outputs[-1], weights) + biases


logits = RNN(X)
loss_op = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(logits=logits, labels=Y))
optimizer = tf.train.AdamOptimizer(learning_rate=0.01)
gradients, variables = zip(*optimizer.compute_gradients(loss_op))
gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
train_op = optimizer.apply_gradients(zip(gradients, variables))
accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), tf.argmax(Y, 1)), tf.float32))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(1, 401):
        batch_x, batch_y = digits.next_batch(64)
        feed = {X: batch_x.reshape((-1, timesteps, num_input)), Y: batch_y}
        sess.run(train_op, feed_dict=feed)
        if step % 100 == 0:
            loss, acc = sess.run([loss_op, accuracy], feed_dict=feed)
            print("Step %d, Minibatch Loss= %.4f, Training Accuracy= %.3f" % (step, loss, acc))
    test = {X: digits.test_x.reshape((-1, timesteps, num_input)), Y: digits.test_y}
    print("Testing Accuracy: %.4f" % sess.run(accuracy, feed_dict=test))
