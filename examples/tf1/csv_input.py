"""Input from files in TensorFlow 1 style: threads read CSV lines, parse them and make batches while a step trains.

    python examples/tf1/csv_input.py
"""
import os
import tempfile

import numpy as np
import ringflow as tf

tf.set_random_seed(8)
rng = np.random.default_rng(8)
folder = tempfile.mkdtemp()
files = [os.path.join(folder, "part-%d.csv" % i) for i in range(3)]
for name in files:
    x = rng.uniform(-1, 1, (400, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.3 + 0.01 * rng.standard_normal(400)
    np.savetxt(name, np.column_stack([x, y]), fmt="%.6f", delimiter=",", header="a,b,c,target", comments="")

filename_queue = tf.train.string_input_producer(files, num_epochs=20, shuffle=True)
reader = tf.TextLineReader(skip_header_lines=1)
key, value = reader.read(filename_queue)
a, b, c, target = tf.decode_csv(value, record_defaults=[[0.0], [0.0], [0.0], [0.0]])
features, targets = tf.train.shuffle_batch([tf.stack([a, b, c]), target], batch_size=40, capacity=400,
                                           min_after_dequeue=100)

w = tf.get_variable("w", [3, 1], initializer=tf.zeros_initializer())
bias = tf.get_variable("bias", [1], initializer=tf.zeros_initializer())
prediction = tf.reshape(tf.matmul(features, w) + bias, [-1])
loss = tf.reduce_mean(tf.square(prediction - targets))
train_op = tf.train.GradientDescentOptimizer(0.1).minimize(loss)

with tf.Session() as sess:
    sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess=sess, coord=coord)
    steps = 0
    try:
        while not coord.should_stop():
            _, l2 = sess.run([train_op, loss])
            steps += 1
            if steps % 150 == 0:
                print("Step %d, loss %.5f" % (steps, l2))
    except tf.errors.OutOfRangeError:
        print("Read all files 20 times: %d steps of 40 lines" % steps)
    finally:
        coord.request_stop()
    coord.join(threads)
    print("weights %s bias %.3f" % (np.round(sess.run(w).ravel(), 3).tolist(), sess.run(bias)[0]))
    print("largest error of a weight %.4f" % np.abs(sess.run(w).ravel() - [1.0, -2.0, 0.5]).max())
for name in files:
    os.remove(name)
os.rmdir(folder)
