"""Session: structures of fetches, feeds, caching, errors, life time. Every test runs on both backends."""
import collections
import threading

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import FailedPreconditionError, GraphError, InvalidArgumentError, NotFoundError
from ringflow.graph.session import BACKENDS


def test_fetches_come_back_in_their_structure(session):
    a, b = rf.constant(1.0, name="a"), rf.constant([2.0, 3.0], name="b")
    Pair = collections.namedtuple("Pair", "first second")
    got = session.run({"x": [a, (b, a)], "y": Pair(a, b), "z": "b:0", "op": a.op})
    assert got["x"][0] == 1.0 and isinstance(got["x"][0], np.float32)
    np.testing.assert_array_equal(got["x"][1][0], [2, 3])
    assert isinstance(got["y"], Pair) and got["y"].first == 1.0
    np.testing.assert_array_equal(got["z"], [2, 3])
    assert got["op"] is None


def test_any_tensor_can_be_fed_and_fetched_back(session):
    x = rf.placeholder(rf.float32, [None])
    y = x * 2.0
    z = y + 1.0
    np.testing.assert_array_equal(session.run(z, {x: [1, 2]}), [3, 5])
    np.testing.assert_array_equal(session.run(z, {y: [1, 2]}), [2, 3])
    np.testing.assert_array_equal(session.run([y, z], {"mul:0" if False else y.name: [7]})[0], [7])


def test_feeds_of_many_shapes_run_with_one_plan_in_the_end(session):
    x = rf.placeholder(rf.float32, [None, 3])
    y = rf.reduce_sum(x * 2.0, 1)
    for n in range(1, 14):
        np.testing.assert_allclose(session.run(y, {x: np.ones((n, 3))}), np.full(n, 6.0))


def test_wrong_feeds_say_what_and_where(session):
    x = rf.placeholder(rf.float32, [None, 3], name="x")
    y = x + 1.0
    with pytest.raises(InvalidArgumentError, match=r"shape \(2, 4\).*'x:0'.*\(\?, 3\).*test_session.py"):
        session.run(y, {x: np.zeros((2, 4))})
    with pytest.raises(InvalidArgumentError, match="must feed a value for placeholder tensor 'x'"):
        session.run(y)
    with pytest.raises(InvalidArgumentError, match="symbolic"):
        session.run(y, {x: rf.constant(np.zeros((2, 3)))})
    with pytest.raises(InvalidArgumentError, match="rectangular"):
        session.run(y, {x: [[1, 2, 3], [4]]})
    i = rf.placeholder(rf.int32, [], name="i")
    with pytest.raises(InvalidArgumentError, match="'i:0'.*int32"):
        session.run(i + 1, {i: 1.5})


def test_unknown_fetches_and_feeds_are_named(session):
    rf.constant(1.0, name="loss")
    with pytest.raises(NotFoundError, match="cannot fetch 'lost:0'.*Near: loss"):
        session.run("lost:0")
    with pytest.raises(InvalidArgumentError, match="cannot fetch 3"):
        session.run(3)
    with pytest.raises(GraphError, match="another graph"):
        with rf.Graph().as_default():
            other = rf.constant(1.0)
        session.run(other)


def test_uninitialised_variable_is_named_with_its_line(session):
    v = rf.Variable([1.0, 2.0], name="v")
    with pytest.raises(FailedPreconditionError, match="Attempting to use uninitialized value v.*test_session.py"):
        session.run(v * 2.0)
    session.run(rf.global_variables_initializer())
    np.testing.assert_array_equal(session.run(v * 2.0), [2, 4])


def test_a_fetched_variable_is_the_value_before_the_update(session):
    v = rf.Variable(1.0)
    up = v.assign_add(1.0)
    session.run(v.initializer)
    for i in range(3):
        before, _ = session.run([v, up.op])
        assert before == 1.0 + i
    with rf.control_dependencies([up]):
        after = v.read_value()
    assert session.run(after) == 5.0


def test_updates_wait_for_reads_that_do_not_follow_them(session):
    v = rf.Variable(np.ones(4, np.float32))
    slow = rf.reduce_sum(v.value() * 3.0)
    for _ in range(20):
        slow = slow + 1.0
    up = v.assign(v.value() * 10.0)
    session.run(v.initializer)
    assert session.run([up.op, slow])[1] == 32.0


def test_changing_a_node_that_has_run_is_an_error(session):
    a, b = rf.constant(1.0), rf.constant(2.0)
    c = a + b
    session.run(c)
    with pytest.raises(GraphError, match="already run and may not be changed.*test_session.py"):
        c.op._update_input(0, b)
    d = c * 2.0
    d.op._update_input(0, a)
    assert session.run(d) == 2.0


def test_an_error_in_a_kernel_names_node_values_and_line_and_leaves_the_session_usable(session):
    x = rf.placeholder(rf.int32, [None], name="x")
    y = rf.gather(rf.constant([10.0, 20.0]), x, name="pick")
    with pytest.raises(InvalidArgumentError, match=r"7.*pick.*test_session.py|pick.*7.*test_session.py"):
        session.run(y, {x: [0, 7]})
    np.testing.assert_array_equal(session.run(y, {x: [1, 0]}), [20, 10])


def test_make_callable_takes_feeds_by_position(session):
    x, y = rf.placeholder(rf.float32), rf.placeholder(rf.float32)
    f = session.make_callable(x - y, [x, y])
    assert f(5.0, 3.0) == 2.0
    with pytest.raises(InvalidArgumentError, match="takes 2 values"):
        f(1.0)


def test_two_sessions_have_their_own_variables(session):
    v = rf.Variable(1.0)
    session.run(v.initializer)
    with rf.Session(graph=session.graph) as other:
        with pytest.raises(FailedPreconditionError):
            other.run(v)
        other.run(v.initializer)
        other.run(v.assign(5.0))
    assert session.run(v) == 1.0


def test_eval_and_run_use_the_default_session(session):
    v = rf.Variable(3.0)
    v.initializer.run()
    assert (v * 2.0).eval() == 6.0
    v.load(4.0)
    assert v.eval() == 4.0


def test_closed_session_refuses_to_run():
    with rf.Graph().as_default():
        a = rf.constant(1.0)
        s = rf.Session()
        s.run(a)
        s.close()
        with pytest.raises(GraphError, match="closed"):
            s.run(a)


def test_threads_share_a_session(session):
    x = rf.placeholder(rf.float32, [None])
    y = rf.reduce_sum(x * x)
    wrong = []

    def work(k):
        for i in range(50):
            n = (i + k) % 5 + 1
            if session.run(y, {x: np.full(n, k, np.float32)}) != n * k * k:
                wrong.append((k, n))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_whole_numbers_in_float_arrays_may_be_fed_as_integers(session):
    x = rf.placeholder(rf.int32, [None])
    assert session.run(x + 1, {x: np.array([1.0, -2.0])}).tolist() == [2, -1]
    for wrong in (np.array([1.5]), np.array([np.nan]), np.array([1e10])):
        with pytest.raises(InvalidArgumentError, match="int32"):
            session.run(x + 1, {x: wrong})


def test_read_only_and_strided_feeds_are_accepted(session):
    x = rf.placeholder(rf.float32, [2, 3])
    y = x * 2.0
    a = np.arange(6, dtype=np.float32).reshape(3, 2).T
    np.testing.assert_array_equal(session.run(y, {x: a}), a * 2)
    b = np.ones((2, 3), np.float32)
    b.flags.writeable = False
    np.testing.assert_array_equal(session.run(y, {x: b}), b * 2)


def test_feeds_are_never_written(session):
    x = rf.placeholder(rf.float32, [64])
    y = rf.nn.relu(-x)
    a = np.linspace(-1, 1, 64).astype(np.float32)
    keep = a.copy()
    session.run(y, {x: a})
    np.testing.assert_array_equal(a, keep)


class Scaled(np.ndarray):
    """A subclass: what it holds is for its class to say."""


@pytest.mark.parametrize("other", [
    np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3), np.arange(6, dtype=">f4").reshape(2, 3),
    np.arange(6, dtype=np.float32).reshape(3, 2).T, np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2],
    np.arange(6, dtype=np.float32).reshape(2, 3).view(Scaled), np.arange(12, dtype=np.float32).reshape(4, 3),
    [[1, 2, 3], [4, 5, 6]],
], ids=["double", "int64", "big-endian", "Fortran order", "strided", "subclass", "another shape", "list"])
def test_each_run_looks_at_its_feeds_anew(session, other):
    x = rf.placeholder(rf.float32, [None, 3])
    f = session.make_callable(x * 2.0, [x])
    plain = np.ones((2, 3), np.float32)
    for value in (plain, plain, other, plain, other):
        np.testing.assert_array_equal(f(value), np.asarray(value) * 2)
    with pytest.raises(InvalidArgumentError, match=r"shape \(2, 4\)"):
        f(np.zeros((2, 4), np.float32))
    np.testing.assert_array_equal(f(plain), plain * 2)


def test_a_feed_that_nothing_reads_is_still_looked_at(session):
    x, unread = rf.placeholder(rf.float32, [2]), rf.placeholder(rf.int32, [2])
    f = session.make_callable(x + 1.0, [x, unread])
    a = np.ones(2, np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(f(a, np.ones(2, np.int32)), [2, 2])
    with pytest.raises(InvalidArgumentError, match="int32"):
        f(a, np.full(2, 0.5))


def test_what_is_cleared_is_planned_anew(session):
    v = rf.Variable(1.0)
    read = session.make_callable(v.value())
    session.run(v.initializer)
    assert read() == 1.0 and read() == 1.0
    session.clear()
    with pytest.raises(FailedPreconditionError):
        read()
    v.load(2.0, session)
    assert read() == 2.0


# ---- odd values
def fed_and_given_back(session, dtype, value):
    x = rf.placeholder(dtype)
    return session.run(rf.identity(x), {x: value})


@pytest.mark.parametrize("value", [[1.5, -2.0], np.array([1.5, -2.0]), np.array([1.5, -2.0], ">f4")])
def test_numbers_become_bfloat16_by_value(session, value):
    x = rf.placeholder(rf.bfloat16, [2])
    assert session.run(rf.cast(x, rf.float32), {x: value}).tolist() == [1.5, -2.0]
    assert session.run(rf.cast(rf.constant([1.5, -2.0], rf.bfloat16), rf.float32)).tolist() == [1.5, -2.0]


@pytest.mark.parametrize("value", [
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2],
    np.arange(6, dtype=">f4").reshape(2, 3)[::-1],
    np.frombuffer(bytes(range(25)), np.uint8)[1:].view(np.float32).reshape(2, 3),
    np.zeros((0, 3), np.float32),
    np.float64(3),
    np.zeros((1,) * 8, np.float32),
], ids=["Fortran order", "strided", "big-endian", "unaligned", "empty", "scalar", "8 dimensions"])
def test_any_layout_may_be_fed(session, value):
    got = fed_and_given_back(session, rf.float32, value)
    assert got.shape == value.shape and got.dtype == np.float32
    np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("dtype, value", [("int32", 2**31), ("int64", 2**63), ("uint8", -1), ("float32", 2**70),
                                          ("float32", None), ("int64", np.uint64(2**63)), ("bool", [2])])
def test_a_value_that_does_not_fit_is_refused(session, dtype, value):
    with pytest.raises(InvalidArgumentError):
        fed_and_given_back(session, dtype, value)


def test_a_python_int_beyond_int64_is_no_constant():
    with pytest.raises(InvalidArgumentError, match="does not fit int64"):
        rf.constant(2**70)
@pytest.mark.skipif("cpp" not in BACKENDS, reason="ringflow._core is not built")
def test_too_many_dimensions_and_elements_are_typed_errors():
    with rf.Graph().as_default() as g, rf.Session(graph=g) as session:
        with pytest.raises(InvalidArgumentError, match="too many dimensions"):
            fed_and_given_back(session, rf.float32, np.zeros((1,) * 9, np.float32))
        n = rf.placeholder(rf.int64, [None])
        for tensor in (rf.fill(n, 1.0), rf.reshape(rf.zeros([0]), n)):
            with pytest.raises(InvalidArgumentError, match="too large"):
                session.run(tensor, {n: [2**32, 2**32]})
