"""Input producers and batches on both backends, and training that reads from storage without a feed."""
import importlib.util
import struct

import numpy as np
import pytest
import ringflow as rf

HAS_CORE = importlib.util.find_spec("ringflow._core") is not None
needs_core = pytest.mark.skipif(not HAS_CORE, reason="ringflow._core is not built")
backends = pytest.mark.parametrize("backend", [pytest.param("cpp", marks=needs_core), "reference"])


def drain(backend, build, limit=1000):
    """What `build()` gives, run after run, until it is at its end."""
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        fetched = build()
        session.run([rf.global_variables_initializer(), rf.local_variables_initializer()])
        coord = rf.train.Coordinator()
        threads = rf.train.start_queue_runners(session, coord)
        found = []
        with pytest.raises(rf.errors.OutOfRangeError):
            for _ in range(limit):
                found.append(session.run(fetched))
        coord.request_stop()
        coord.join(threads)
        return found


# ---- producers
@backends
def test_every_epoch_holds_every_string_once(backend):
    names = [b"a", b"b", b"c", b"d", b"e"]
    found = drain(backend, lambda: rf.train.string_input_producer(names, num_epochs=4, seed=3).dequeue())
    epochs = [found[i:i + 5] for i in range(0, 20, 5)]
    assert [sorted(e) for e in epochs] == [names] * 4
    assert len({tuple(e) for e in epochs}) > 1
    assert drain(backend, lambda: rf.train.string_input_producer(names, 2, shuffle=False).dequeue()) == names * 2


@backends
def test_ranges_and_slices_keep_rows_together(backend):
    assert drain(backend, lambda: rf.train.range_input_producer(4, 2, shuffle=False).dequeue()) == [0, 1, 2, 3] * 2
    words, numbers = [f"w{i}" for i in range(6)], np.arange(12, dtype=np.float32).reshape(6, 2)
    found = drain(backend, lambda: rf.train.slice_input_producer([words, numbers], num_epochs=2, seed=1))
    assert len(found) == 12
    for word, row in found:
        i = int(word[1:])
        np.testing.assert_array_equal(row, numbers[i])


@backends
def test_files_are_matched_once(backend, tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"")
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        names = rf.train.match_filenames_once(str(tmp_path / "*"))
        session.run(rf.local_variables_initializer())
        (tmp_path / "c").write_bytes(b"")
        assert session.run(names).tolist() == [f"{tmp_path}/{n}".encode() for n in "ab"]


@backends
def test_epochs_end_and_need_a_positive_number(backend):
    assert drain(backend, lambda: rf.train.limit_epochs(rf.constant(7), 3)) == [7, 7, 7]
    with rf.Graph().as_default():
        assert rf.train.limit_epochs(rf.constant(7)).op.type == "Const"
        with pytest.raises(rf.errors.InvalidArgumentError, match="num_epochs"):
            rf.train.limit_epochs(rf.constant(7), 0)


@backends
def test_no_names_is_an_error_at_build_or_in_the_thread(backend):
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        with pytest.raises(rf.errors.InvalidArgumentError, match="non-null"):
            rf.train.string_input_producer([])
        names = rf.placeholder_with_default(rf.constant(np.zeros(0, object)), [None])
        queue = rf.train.string_input_producer(names)
        coord = rf.train.Coordinator()
        threads = rf.train.start_queue_runners(session, coord)
        with pytest.raises(rf.errors.Error):  # cancelled or closed: the thread has stopped everything
            session.run(queue.dequeue())
        coord.request_stop()
        with pytest.raises(rf.errors.InvalidArgumentError, match="non-null"):
            coord.join(threads)


# ---- batches
def numbers(epochs=1, n=10):
    return rf.train.range_input_producer(n, epochs, shuffle=False).dequeue()


@backends
def test_batches_are_whole_or_the_last_is_smaller(backend):
    found = drain(backend, lambda: rf.train.batch([numbers(), rf.constant([1.0, 2.0])], 4))
    assert [b[0].tolist() for b in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found[0][1].shape == (4, 2)
    found = drain(backend, lambda: rf.train.batch(numbers(), 4, allow_smaller_final_batch=True))
    assert [b.tolist() for b in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@backends
def test_a_dict_gives_a_dict_and_rows_are_enqueued_one_by_one(backend):
    def build():
        x = rf.expand_dims(numbers(), 0)
        return rf.train.batch({"x": rf.concat([x, x + 100], 0)}, 3, enqueue_many=True)

    found = drain(backend, build)
    assert [b["x"].tolist() for b in found][:2] == [[0, 100, 1], [101, 2, 102]] and len(found) == 6


@backends
def test_several_threads_give_every_element_once(backend):
    found = drain(backend, lambda: rf.train.batch(numbers(3, 40), 8, num_threads=3))
    assert sorted(np.concatenate(found).tolist()) == sorted(list(range(40)) * 3)


@backends
def test_pipelines_are_joined(backend):
    def build():
        pipelines = [[numbers() + 100 * k, rf.constant(k)] for k in range(3)]
        return rf.train.batch_join(pipelines, 5)

    found = drain(backend, build)
    values, origin = (np.concatenate(column) for column in zip(*found))
    assert sorted(values.tolist()) == sorted(v + 100 * k for k in range(3) for v in range(10))
    assert (values // 100 == origin).all()


@backends
@pytest.mark.parametrize("join", [False, True])
def test_shuffling_mixes_and_keeps_every_element(backend, join):
    def build():
        how = {"batch_size": 10, "capacity": 60, "min_after_dequeue": 30, "seed": 5}
        return rf.train.shuffle_batch_join([[numbers(2, 50)]], **how)[0] if join else rf.train.shuffle_batch(
            numbers(2, 50), **how)

    found = np.concatenate(drain(backend, build))
    assert sorted(found.tolist()) == sorted(list(range(50)) * 2)
    assert found[:50].tolist() != list(range(50))


@backends
def test_padding_makes_rows_of_one_size(backend):
    def build():
        n = numbers(n=6)
        return rf.train.batch(rf.fill([n], 1.0), 3, dynamic_pad=True, shapes=[[None]])

    found = drain(backend, build)
    assert [b.shape for b in found] == [(3, 2), (3, 5)]
    assert found[0].tolist() == [[0, 0], [1, 0], [1, 1]]


@backends
def test_only_what_is_kept_is_batched(backend):
    def one():
        n = numbers()
        return rf.train.maybe_batch(n, rf.equal(n % 2, 0), 2)

    def rows():
        n = rf.stack([numbers()] * 2)
        return rf.train.maybe_batch(n, rf.constant([False, True]), 5, enqueue_many=True)

    assert [b.tolist() for b in drain(backend, one)] == [[0, 2], [4, 6]]
    assert len(drain(backend, rows)) == 2


@pytest.mark.parametrize("build, message", [
    (lambda x: rf.train.batch([x], 2), "fully defined"),
    (lambda x: rf.train.batch([x], 2, num_threads=0), "num_threads"),
    (lambda x: rf.train.batch_join([[x], [rf.constant(1)]], 2, shapes=[[]]), "same types"),
    (lambda x: rf.train.batch(rf.constant(1), 2, enqueue_many=True), "is a scalar"),
    (lambda x: rf.train.batch([rf.SparseTensor([[0]], [1.0], [1])], 2), "sparse"),
    (lambda x: rf.train.input_producer(x), "known shape"),
    (lambda x: rf.train.slice_input_producer([]), "tensor_list"),
])
def test_pipelines_that_cannot_be_are_refused_when_built(build, message):
    with rf.Graph().as_default(), pytest.raises(rf.errors.InvalidArgumentError, match=message):
        build(rf.placeholder(rf.float32))


# ---- training from storage
def write_examples(folder, rows, weights):
    for part in range(2):
        with rf.python_io.TFRecordWriter(folder / f"part{part}.tfrecord", "GZIP") as writer:
            for x in rows[part::2]:
                message = rf.train.Example()
                message.features.feature["x"].float_list.value.extend(x.tolist())
                message.features.feature["y"].float_list.value.append(float(x @ weights))
                writer.write(message.SerializeToString())


def records_of(folder, epochs):
    names = rf.train.string_input_producer([str(folder / f"part{p}.tfrecord") for p in range(2)], epochs, seed=2)
    _, record = rf.TFRecordReader(options="GZIP").read(names)
    features = rf.parse_single_example(record, {"x": rf.FixedLenFeature([3], rf.float32),
                                                "y": rf.FixedLenFeature([], rf.float32)})
    return rf.train.shuffle_batch([features["x"], features["y"]], 16, 200, 50, num_threads=2, seed=3)


def csv_of(folder, epochs):
    names = rf.train.string_input_producer([str(folder / "data.csv")], epochs)
    _, line = rf.TextLineReader(skip_header_lines=1).read(names)
    *x, y = rf.decode_csv(line, [[0.0]] * 4)
    return rf.train.batch([rf.stack(x), y], 16)


def raw_of(folder, epochs):
    names = rf.train.string_input_producer([str(folder / "data.bin")], epochs)
    _, record = rf.FixedLengthRecordReader(16, header_bytes=4).read(names)
    row = rf.reshape(rf.decode_raw(record, rf.float32), [4])
    return rf.train.batch([row[:3], row[3]], 16)


@backends
@pytest.mark.parametrize("pipeline", [records_of, csv_of, raw_of])
def test_linear_regression_learns_from_files_without_a_feed(backend, pipeline, tmp_path):
    rng = np.random.default_rng(0)
    rows, weights = rng.standard_normal((160, 3)).astype(np.float32), np.array([1.0, -2.0, 0.5], np.float32)
    write_examples(tmp_path, rows, weights)
    table = np.column_stack([rows, rows @ weights]).astype(np.float32)
    (tmp_path / "data.csv").write_text("a,b,c,y\n" + "".join(",".join(map(str, r)) + "\n" for r in table.tolist()))
    (tmp_path / "data.bin").write_bytes(struct.pack("<I", 160) + table.tobytes())
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        x, y = pipeline(tmp_path, epochs=10)
        w = rf.Variable(np.zeros((3, 1), np.float32))
        loss = rf.reduce_mean(rf.square(rf.squeeze(rf.matmul(x, w), [1]) - y))
        train_op = rf.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run([rf.global_variables_initializer(), rf.local_variables_initializer()])
        coord = rf.train.Coordinator()
        threads = rf.train.start_queue_runners(session, coord)
        steps = 0
        with coord.stop_on_exception():
            while not coord.should_stop():
                session.run(train_op)
                steps += 1
        coord.join(threads)
        assert steps == 100
        np.testing.assert_allclose(session.run(w).ravel(), weights, atol=0.01)


@backends
def test_a_damaged_file_stops_the_pipeline_with_its_error(backend, tmp_path):
    write_examples(tmp_path, np.ones((4, 3), np.float32), np.ones(3, np.float32))
    (tmp_path / "part1.tfrecord").write_bytes(b"no gzip")
    with rf.Graph().as_default(), rf.Session(backend=backend) as session:
        x, _ = records_of(tmp_path, epochs=1)
        session.run(rf.local_variables_initializer())
        coord = rf.train.Coordinator()
        threads = rf.train.start_queue_runners(session, coord)
        with coord.stop_on_exception():
            while not coord.should_stop():
                session.run(x)
        with pytest.raises(rf.errors.DataLossError, match="part1.tfrecord"):
            coord.join(threads)
