"""Runs graph files with TensorFlow and writes what it fetched. Run by a Python with TensorFlow.

    python run_graphs.py FOLDER NAME...    reads NAME.pb and NAME.pickle (runs), writes NAME.tf.pickle

A run is (feeds, fetches). A file that TensorFlow cannot load or run gives the text of its error instead of values.
"""
import pathlib
import pickle
import sys

import tensorflow.compat.v1 as tf


def fetched(graph, name):
    return graph.get_tensor_by_name(name) if ":" in name else graph.get_operation_by_name(name)


def run(folder, name):
    graph_def = tf.GraphDef.FromString((folder / f"{name}.pb").read_bytes())
    runs = pickle.loads((folder / f"{name}.pickle").read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with tf.Session() as session:
            return [session.run([fetched(graph, f) for f in fetches], feeds) for feeds, fetches in runs]


def main(folder, names):
    tf.disable_eager_execution()
    for name in names:
        try:
            result = run(folder, name)
        except Exception as e:
            result = f"{type(e).__name__}: {str(e)[:2000]}"
        (folder / f"{name}.tf.pickle").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
