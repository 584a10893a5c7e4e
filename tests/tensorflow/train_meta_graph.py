"""Goes on with a meta graph in TensorFlow, by its collections alone; prints losses and variables as JSON."""
import json
import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
tf.train.import_meta_graph(sys.argv[1])
loss, train = tf.get_collection("outputs")
feeds = {"x:0": np.arange(6, dtype=np.float32).reshape(3, 2)}
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    losses = [float(session.run([loss, train], feeds)[0]) for _ in range(3)]
    values = {v.name: session.run(v).tolist() for v in tf.trainable_variables()}
print(json.dumps({"losses": losses, "values": values, "variables": [v.name for v in tf.global_variables()]}))
