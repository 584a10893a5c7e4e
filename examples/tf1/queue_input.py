"""Input from queues in TensorFlow 1 style: threads shuffle and collect examples while a step trains; nothing is fed.

    python examples/tf1/queue_input.py
"""
import numpy as np
import ringflow as tf
from digits_data import Digits

BATCH = 50
tf.set_random_seed(7)
digits = Digits()
train_x, train_y = tf.constant(digits.train_x), tf.constant(np.argmax(digits.train_y, 1).astype(np.int32))

# the numbers of the examples, in another order each time around
numbers = tf.FIFOQueue(3000, [tf.int32], shapes=[[]])
fill = numbers.enqueue_many([tf.random_shuffle(tf.range(1500))])
tf.train.add_queue_runner(tf.train.QueueRunner(numbers, [fill]))

# two threads look examples up and put them into the queue from which batches are taken
number = numbers.dequeue()
examples = tf.RandomShuffleQueue(1000, 200, [tf.float32, tf.int32], shapes=[[64], []], seed=8)
put = examples.enqueue([tf.gather(train_x, number), tf.gather(train_y, number)])
tf.train.add_queue_runner(tf.train.QueueRunner(examples, [put] * 2))
x, y = examples.dequeue_many(BATCH)


def model(images):
    with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
        w1 = tf.get_variable("w1", [64, 64])
        w2 = tf.get_variable("w2", [64, 10])
    return tf.matmul(tf.nn.relu(tf.matmul(images, w1)), w2)


loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=model(x)))
train_op = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
test_right = tf.nn.in_top_k(model(digits.test_x), np.argmax(digits.test_y, 1).astype(np.int32), 1)
accuracy = tf.reduce_mean(tf.cast(test_right, tf.float32))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess=sess, coord=coord)
    for step in range(1, 401):
        _, value = sess.run([train_op, loss])
        if step % 100 == 0:
            print("Step %d, loss %.4f, %d examples waiting" % (step, value, sess.run(examples.size())))
    coord.request_stop()
    coord.join(threads)
    print("Testing Accuracy: %.4f" % sess.run(accuracy))
