"""Queue runners and the coordinator: who stops whom, and where errors arrive; on both backends."""
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import ringflow as rf


def counter(session, name, limit=None):
    """A tensor that counts up with every run; OutOfRange at the limit."""
    v = rf.Variable(0, name=name)
    session.run(v.initializer)
    if limit is None:
        return v.assign_add(1)
    source = rf.FIFOQueue(-1, rf.int32, shapes=[()], name=f"{name}_source")
    session.run(source.enqueue_many([range(1, limit + 1)]))
    session.run(source.close())
    return source.dequeue()


# ---- coordinator
def test_join_returns_when_all_threads_have_ended():
    coord, ran = rf.train.Coordinator(), []
    threads = [threading.Thread(target=ran.append, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    coord.join(threads)
    assert sorted(ran) == [0, 1, 2] and coord.joined and coord.should_stop()


def test_join_raises_the_first_error_once():
    coord = rf.train.Coordinator()

    def fail(waits, error):
        if waits:
            coord.wait_for_stop()
        coord.request_stop(error)

    order = (False, KeyError("first")), (True, ValueError("second"))
    threads = [threading.Thread(target=fail, args=a) for a in order]
    for t in threads:
        t.start()
    with pytest.raises(KeyError, match="first"):
        coord.join(threads)
    coord.join(threads)
    with pytest.raises(ValueError, match="late"):
        coord.request_stop(ValueError("late"))  # nobody would hear of it
    coord.clear_stop()
    assert not coord.should_stop() and not coord.joined


def test_clean_kinds_of_exceptions_stop_without_an_error():
    coord = rf.train.Coordinator()
    with coord.stop_on_exception():
        raise rf.errors.OutOfRangeError("the end")
    assert coord.should_stop()
    coord.join([])
    coord = rf.train.Coordinator(clean_stop_exception_types=(KeyError,))
    with coord.stop_on_exception():
        raise rf.errors.OutOfRangeError("the end")
    with pytest.raises(rf.errors.OutOfRangeError):
        coord.raise_requested_exception()
    with pytest.raises(rf.errors.OutOfRangeError):
        coord.join([])


def test_threads_that_outlive_the_grace_period_are_named():
    coord, release = rf.train.Coordinator(), threading.Event()
    stuck = threading.Thread(target=release.wait, name="stuck one", daemon=True)
    stuck.start()
    coord.request_stop()
    with pytest.raises(RuntimeError, match="threads still run 0.05 s after the stop: stuck one"):
        coord.join([stuck], stop_grace_period_secs=0.05)
    coord.join([stuck], stop_grace_period_secs=0.05, ignore_live_threads=True)
    release.set()
    stuck.join()


def test_wait_for_stop_wakes_at_once():
    coord = rf.train.Coordinator()
    threading.Timer(0.05, coord.request_stop).start()
    before = time.monotonic()
    assert coord.wait_for_stop(120)
    assert time.monotonic() - before < 60
    assert not rf.train.Coordinator().wait_for_stop(0.01)


def test_looper_thread_turns_until_the_stop_and_reports_errors():
    coord, turns = rf.train.Coordinator(), []
    looper = rf.train.LooperThread.loop(coord, 0.001, turns.append, args=(1,))
    while len(turns) < 3:
        time.sleep(0.001)
    coord.request_stop()
    coord.join()
    assert not looper.is_alive()
    coord = rf.train.Coordinator()
    rf.train.LooperThread.loop(coord, None, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        coord.join()


# ---- queue runners
def test_runners_fill_the_queue_and_stop_with_the_coordinator(session):
    q = rf.FIFOQueue(3, rf.int32)
    rf.train.add_queue_runner(rf.train.QueueRunner(q, [q.enqueue(counter(session, f"n{i}")) for i in range(2)]))
    dequeue = q.dequeue()
    coord = rf.train.Coordinator()
    threads = rf.train.start_queue_runners(session, coord)
    assert len(threads) == 3 and all(t.daemon for t in threads)
    got = sorted(session.run(dequeue) for _ in range(20))
    assert got[0] == 1
    coord.request_stop()
    coord.join(threads, stop_grace_period_secs=60)
    assert not any(t.is_alive() for t in threads)
    assert session.run(q.is_closed())


def test_the_end_of_the_input_closes_the_queue_after_the_last_thread(session):
    q = rf.FIFOQueue(100, rf.int32)
    dequeue = q.dequeue()
    enqueues = [q.enqueue(counter(session, f"n{i}", limit=3 + i)) for i in range(3)]
    rf.train.add_queue_runner(rf.train.QueueRunner(q, enqueues))
    coord = rf.train.Coordinator()
    threads = rf.train.start_queue_runners(session, coord)
    got = []
    with coord.stop_on_exception():
        while True:
            got.append(int(session.run(dequeue)))
    coord.join(threads)
    assert sorted(got) == sorted([*range(1, 4), *range(1, 5), *range(1, 6)])


def test_the_exception_of_a_runner_reaches_the_main_thread(session):
    q = rf.FIFOQueue(3, rf.float32)
    failing = rf.check_numerics(rf.constant(1.0) / rf.to_float(counter(session, "zero") - 3), "no number")
    rf.train.add_queue_runner(rf.train.QueueRunner(q, [q.enqueue(failing)]))
    dequeue = q.dequeue()
    coord = rf.train.Coordinator()
    threads = rf.train.start_queue_runners(session, coord)
    with coord.stop_on_exception():
        while not coord.should_stop():
            session.run(dequeue)  # ends with OutOfRange: the runner has failed and the queue is closed
    with pytest.raises(rf.errors.InvalidArgumentError, match="no number"):
        coord.join(threads)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_without_a_coordinator_a_failing_runner_closes_its_queue(session):
    q = rf.FIFOQueue(3, rf.float32)
    runner = rf.train.QueueRunner(q, [q.enqueue(rf.check_numerics(rf.log(-1.0), "no number"))])
    dequeue = q.dequeue()
    [thread] = runner.create_threads(session, daemon=True, start=True)
    with pytest.raises(rf.errors.OutOfRangeError):
        session.run(dequeue)
    thread.join(60)
    assert [type(e) for e in runner.exceptions_raised] == [rf.errors.InvalidArgumentError]


def test_threads_are_started_once_a_session(session):
    q = rf.FIFOQueue(1, rf.int32)
    runner = rf.train.QueueRunner(q, [q.enqueue(1)])
    coord = rf.train.Coordinator()
    threads = runner.create_threads(session, coord, daemon=True, start=True)
    assert runner.create_threads(session, coord) == []
    coord.request_stop()
    coord.join(threads)


def test_missing_parts_of_a_runner_are_named():
    with rf.Graph().as_default(), pytest.raises(rf.errors.InvalidArgumentError, match="'queue' and 'enqueue_ops'"):
        rf.train.QueueRunner(rf.FIFOQueue(1, rf.int32), [])
    with pytest.raises(rf.errors.GraphError, match="start_queue_runners.*no default session"):
        rf.train.start_queue_runners()


def test_runners_survive_a_meta_graph():
    with rf.Graph().as_default() as graph:
        q = rf.FIFOQueue(4, rf.int32, name="q")
        kinds = (rf.errors.OutOfRangeError, rf.errors.CancelledError)
        rf.train.add_queue_runner(rf.train.QueueRunner(q, [q.enqueue(7)], queue_closed_exception_types=kinds))
        q.dequeue(name="out")
        meta = rf.train.export_meta_graph(graph=graph).SerializeToString()
    with rf.Graph().as_default() as graph, rf.Session(graph=graph) as session:
        rf.train.import_meta_graph(meta, import_scope="in")
        [runner] = graph.get_collection(rf.GraphKeys.QUEUE_RUNNERS)
        assert runner.name == "in/q" and runner.queue_closed_exception_types == kinds
        coord = rf.train.Coordinator()
        threads = rf.train.start_queue_runners(session, coord)
        assert session.run("in/out:0") == 7
        coord.request_stop()
        coord.join(threads)


@pytest.mark.parametrize("closes", [True, False])
def test_a_program_that_forgets_to_join_ends(closes):
    program = textwrap.dedent(f"""
        import ringflow as rf
        q = rf.FIFOQueue(2, rf.int32)
        rf.train.add_queue_runner(rf.train.QueueRunner(q, [q.enqueue(1)] * 2))
        session = rf.Session()
        rf.train.start_queue_runners(session, rf.train.Coordinator())
        assert session.run(q.dequeue()) == 1
        if {closes}:
            session.close()
    """)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr
