"""Checkpoints through TensorFlow: `write PREFIX` makes one, `read PREFIX` prints what it finds in ours."""
import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf

ROWS = np.arange(60, dtype=np.float64).reshape(20, 3)


def write(prefix):
    tf.disable_v2_behavior()
    os.makedirs(os.path.dirname(prefix), exist_ok=True)
    with tf.variable_scope("net"):
        w = tf.get_variable("w", initializer=np.arange(6, dtype=np.float32).reshape(2, 3))
        rows = tf.get_variable("rows", ROWS.shape, tf.float64, partitioner=tf.fixed_size_partitioner(3))
        words = tf.get_variable("words", initializer=np.array([b"a", b"\0", b"long" * 100], object), dtype=tf.string)
        half = tf.get_variable("half", initializer=tf.cast([1.5, -2.0], tf.bfloat16))
    saver = tf.train.Saver([w, *rows, words, half], sharded=True)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        at = 0
        for part in rows:
            session.run(part.assign(ROWS[at:at + part.shape[0]]))
            at += int(part.shape[0])
        saver.save(session, prefix, write_meta_graph=False)


def read(prefix):
    reader = tf.train.load_checkpoint(prefix)
    for name in sorted(reader.get_variable_to_shape_map()):
        value = reader.get_tensor(name)
        print(name, value.dtype, value.shape, value.tolist())


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](sys.argv[2])
