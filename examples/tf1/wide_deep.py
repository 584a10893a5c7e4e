"""Wide and deep learning in TensorFlow 1 style, with feature columns by hand (Cheng et al. 2016).

Made-up people earn much or little by education, occupation, hours and one exception that only a pair of features shows.
The wide part remembers crossed categories, the deep part generalises from embeddings and numbers.

    python examples/tf1/wide_deep.py
"""
import numpy as np
import ringflow as tf

EDUCATION = ["school", "college", "bachelor", "master", "doctor"]
OCCUPATION = ["clerk", "craft", "sales", "tech", "farm", "service", "lawyer", "nurse"]
CROSSES = 100
tf.set_random_seed(6)
rng = np.random.default_rng(6)


def make(n):
    education, occupation = rng.integers(0, 5, n), rng.integers(0, 8, n)
    age, hours = rng.uniform(18, 70, n), rng.uniform(10, 60, n)
    score = 0.8 * education + 0.05 * hours - 0.003 * (age - 48) ** 2 + 0.3 * (occupation % 4) - 3.2
    score = np.where((education == 1) & (occupation == 3), 4.0, score)  # the exception
    rich = rng.random(n) < 1 / (1 + np.exp(-2 * score))
    names = np.array([f"{EDUCATION[e]}_{OCCUPATION[o]}" for e, o in zip(education, occupation)], object)
    numbers = np.stack([(age - 44) / 15, (hours - 35) / 14], 1).astype(np.float32)
    return {education_: education, occupation_: occupation, crossed_: names, numbers_: numbers,
            label_: rich[:, None].astype(np.float32)}


education_ = tf.placeholder(tf.int64, [None])
occupation_ = tf.placeholder(tf.int64, [None])
crossed_ = tf.placeholder(tf.string, [None])
numbers_ = tf.placeholder(tf.float32, [None, 2])
label_ = tf.placeholder(tf.float32, [None, 1])

with tf.variable_scope("wide"):
    buckets = tf.string_to_hash_bucket_fast(crossed_, CROSSES)
    wide = tf.nn.embedding_lookup(tf.get_variable("crosses", [CROSSES, 1], initializer=tf.zeros_initializer()), buckets)

with tf.variable_scope("deep"):
    parts = [numbers_]
    for name, ids, size in (("education", education_, 5), ("occupation", occupation_, 8)):
        parts.append(tf.nn.embedding_lookup(tf.get_variable(name, [size, 4]), ids))
    net = tf.concat(parts, 1)
    for i, units in enumerate([32, 16]):
        with tf.variable_scope("layer_%d" % i):
            net = tf.nn.relu(tf.nn.xw_plus_b(net, tf.get_variable("w", [net.shape[1], units]),
                                             tf.get_variable("b", [units], initializer=tf.zeros_initializer())))
    deep = tf.matmul(net, tf.get_variable("out", [16, 1]))

bias = tf.get_variable("bias", [1], initializer=tf.zeros_initializer())
logits = wide + deep + bias
loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=label_, logits=logits))
wide_vars = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope="wide")
deep_vars = [v for v in tf.trainable_variables() if v not in wide_vars]
train_op = tf.group(tf.train.AdagradOptimizer(0.2).minimize(loss, var_list=wide_vars),
                    tf.train.AdamOptimizer(0.005).minimize(loss, var_list=deep_vars))


def accuracy_of(value):
    return tf.reduce_mean(tf.cast(tf.equal(tf.greater(value, 0.0), tf.greater(label_, 0.5)), tf.float32))


with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(1, 1001):
        _, value = sess.run([train_op, loss], make(128))
        if step % 250 == 0:
            print("Step %d, loss %.4f" % (step, value))
    test = make(4000)
    both, base = sess.run([accuracy_of(logits), tf.reduce_mean(label_)], test)
    print("Testing Accuracy: %.4f (always the likelier answer: %.4f)" % (both, max(base, 1 - base)))
