"""word2vec in TensorFlow 1 style: skip-gram with noise contrastive estimation on a small made-up language.

The words of a sentence come from one of six topics, so the neighbours of a word should be those of its topic.

    python examples/tf1/word2vec.py
"""
import numpy as np
import ringflow as tf

topics = {
    "sea": "ship wave harbour sail anchor captain tide reef".split(),
    "kitchen": "pan stove salt soup oven knife bread butter".split(),
    "sky": "star moon planet comet orbit galaxy sun telescope".split(),
    "farm": "cow barn field tractor hay plough goat fence".split(),
    "music": "violin drum song chord piano choir melody flute".split(),
    "sport": "ball goal team coach match referee score league".split(),
}
filler = "the of and a in to with was".split()
vocabulary = filler + [w for words in topics.values() for w in words]  # often used words first
number = {w: i for i, w in enumerate(vocabulary)}
topic_of = {w: t for t, words in topics.items() for w in words}

rng = np.random.default_rng(5)
corpus = []
for _ in range(3000):
    words = list(topics.values())[rng.integers(len(topics))]
    corpus.append([number[rng.choice(filler if rng.random() < 0.3 else words)] for _ in range(8)])
corpus = np.array(corpus)


def generate_batch(n, window=2):
    rows, places = rng.integers(0, len(corpus), n), rng.integers(window, 8 - window, n)
    offsets = rng.choice([-2, -1, 1, 2], n)
    return corpus[rows, places], corpus[rows, places + offsets][:, None]


batch_size, embedding_size, num_sampled = 128, 16, 12
tf.set_random_seed(5)
train_inputs = tf.placeholder(tf.int32, [batch_size])
train_labels = tf.placeholder(tf.int32, [batch_size, 1])
embeddings = tf.Variable(tf.random_uniform([len(vocabulary), embedding_size], -1.0, 1.0))
nce_weights = tf.Variable(tf.truncated_normal([len(vocabulary), embedding_size], stddev=1.0 / np.sqrt(embedding_size)))
nce_biases = tf.Variable(tf.zeros([len(vocabulary)]))

embed = tf.nn.embedding_lookup(embeddings, train_inputs)
loss = tf.reduce_mean(tf.nn.nce_loss(weights=nce_weights, biases=nce_biases, labels=train_labels, inputs=embed,
                                     num_sampled=num_sampled, num_classes=len(vocabulary)))
optimizer = tf.train.AdagradOptimizer(0.5).minimize(loss)

normalized = embeddings / tf.sqrt(tf.reduce_sum(tf.square(embeddings), 1, keep_dims=True))
similarity = tf.matmul(normalized, normalized, transpose_b=True)

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    average = 0.0
    for step in range(1, 4001):
        batch_inputs, batch_labels = generate_batch(batch_size)
        _, value = sess.run([optimizer, loss], {train_inputs: batch_inputs, train_labels: batch_labels})
        average += value / 1000
        if step % 1000 == 0:
            print("Average loss at step", step, ": %.4f" % average)
            average = 0.0
    sim = sess.run(similarity)

right = []
for word, topic in topic_of.items():
    nearest = [vocabulary[k] for k in (-sim[number[word]]).argsort()[1:6]]
    right += [topic_of.get(n) == topic for n in nearest]
    if word in ("ship", "soup", "moon"):
        print("Nearest to %s: %s" % (word, ", ".join(nearest)))
print("Neighbours of the same topic: %.4f (by chance 0.13)" % np.mean(right))
