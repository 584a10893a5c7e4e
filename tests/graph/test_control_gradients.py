"""Gradients through conds and loops, held to central differences."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import session
from ringflow.graph.errors import InvalidArgumentError, UnimplementedError

X, W = np.array([0.3, -0.7]), np.array(1.3)
BACKENDS = ["reference", *(["cpp"] if "cpp" in session.BACKENDS else [])]


def loop(n, body, *variables, **kwargs):
    """for i in range(n): variables = body(i, *variables)"""
    def step(i, *v):
        result = body(i, *v)
        return (i + 1, *(result if isinstance(result, tuple) else (result,)))

    return rf.while_loop(lambda i, *_: i < n, step, (0, *variables), **kwargs)[1:]


def positive(x):
    return rf.reduce_sum(x) > 0.0


def branch_taken(x, w):
    return rf.cond(positive(-x), lambda: x * w, lambda: rf.exp(x))


def branch_not_taken(x, w):
    return rf.cond(positive(x), lambda: x * w, lambda: rf.exp(x))


def branches_with_several_results(x, w):
    a, b = rf.cond(positive(x), lambda: (x, w), lambda: (rf.exp(x) * w, w * w * w))
    return a * b + rf.reduce_sum(a)


def branch_that_returns_what_it_captured(x, w):
    return rf.cond(positive(-x), lambda: x, lambda: x * w) * w


def conds_one_after_the_other(x, w):
    y = rf.cond(positive(x), lambda: x * w, lambda: x / w)
    return rf.cond(positive(y), lambda: y * w, lambda: y * y + x)


def cond_in_cond(x, w):
    return rf.cond(positive(-x), lambda: rf.cond(w > 0.0, lambda: x * w, lambda: x) * x, lambda: w * x)


def power(x, w):
    return loop(4, lambda i, y: rf.tanh(y) * w + x, x)[0]


def loop_that_does_not_run(x, w):
    return loop(0, lambda i, y: rf.tanh(y) * w + x, x)[0] * w


def two_variables_that_mix(x, w):
    a, b = loop(3, lambda i, a, b: (rf.tanh(b) * w, a + b * x), x, rf.ones_like(x) * w)
    return a * 2.0 + b


def a_variable_that_stays(x, w):
    a, b = loop(3, lambda i, a, b: (a, b * a * w), x, rf.ones_like(x))
    return b + a


def length_that_the_values_decide(x, w):
    a, b = rf.while_loop(lambda a, b: rf.reduce_sum(b) < 9.0, lambda a, b: (a * b, b + rf.square(w)),
                         (x, rf.ones_like(x)))
    return a * b


def loop_in_loop(x, w):
    return loop(3, lambda i, y: loop(i + 1, lambda j, z: rf.tanh(z) * w + y, y)[0], x)[0]


def three_loops_deep(x, w):
    def middle(i, y):
        return loop(2, lambda j, z: loop(i + j, lambda k, u: rf.tanh(u * w) + z, z)[0] + y, y)[0]

    return loop(2, middle, x)[0]


def loop_in_cond(x, w):
    return rf.cond(positive(-x), lambda: loop(3, lambda i, y: rf.tanh(y) * w, x)[0], lambda: x * w)


def loop_in_cond_not_taken(x, w):
    return rf.cond(positive(x), lambda: loop(3, lambda i, y: rf.tanh(y) * w, x)[0], lambda: x * w)


def cond_in_loop(x, w):
    return loop(4, lambda i, y: rf.cond(i % 2 > 0, lambda: y * w, lambda: rf.tanh(y) * x + w), x)[0]


def loop_in_cond_in_loop(x, w):
    return loop(3, lambda i, y: rf.cond(i > 0, lambda: loop(i, lambda j, z: rf.tanh(z) * w + y, y)[0],
                                        lambda: y * 2.0 * w), x)[0]


def cond_in_loop_in_loop(x, w):
    return loop(3, lambda i, y: loop(2, lambda j, z: rf.cond((i + j) % 2 > 0, lambda: z * w + y, lambda: rf.exp(-z)),
                                     y)[0], x)[0]


def loops_one_after_the_other(x, w):
    y = loop(2, lambda i, y: y * w, x)[0]
    return loop(2, lambda i, z: rf.tanh(z * w) + y, y)[0]


def one_iteration_at_a_time(x, w):
    return loop(4, lambda i, y: rf.tanh(y) * w + x, x, parallel_iterations=1)[0]


def growing_shape(x, w):
    y = loop(3, lambda i, y: rf.concat([y, y[:1] * w], 0), x,
             shape_invariants=(rf.TensorShape([]), rf.TensorShape([None])))[0]
    return rf.square(y)


def matrices(x, w):
    m = rf.reshape(x, [2, 1]) * rf.reshape(x, [1, 2]) * w
    return loop(3, lambda i, y: rf.tanh(rf.matmul(y, m)) + rf.reduce_mean(y, 1, keepdims=True), m)[0]


def array_that_is_written(x, w):
    _, a = loop(4, lambda i, y, a: (y * w, a.write(i, y * y)), x, rf.TensorArray(rf.float64, 4))
    return a.stack()


def array_that_is_read(x, w):
    a = rf.TensorArray(rf.float64, 2).unstack(x)
    return loop(2, lambda i, y: y * w + rf.square(a.read(i)), w)[0]


def array_read_and_written(x, w):
    a = rf.TensorArray(rf.float64, 2).unstack(x)
    y, out = loop(2, lambda i, y, out: (y * a.read(i), out.write(i, y + w)), w, rf.TensorArray(rf.float64, 2))
    return out.stack() * y


def maximum_iterations(x, w):
    return rf.while_loop(lambda y: True, lambda y: rf.tanh(y) * w, [x], maximum_iterations=3)


def rows_of_a_captured_table(x, w):
    return loop(3, lambda i, y: y * rf.gather(x, i % 2) + w, w)[0]


def rows_of_a_matrix_that_is_captured(x, w):
    table = rf.reshape(x, [2, 1]) * [[1.0, 2.0]]
    return loop(4, lambda i, y: rf.tanh(y * rf.gather(table, [i % 2, 0]) + w), rf.ones([2, 2], rf.float64) * w)[0]


def rows_in_a_loop_in_a_branch(x, w):
    return rf.cond(positive(-x), lambda: loop(2, lambda i, y: y * rf.gather(x, [i, i]) * w, x)[0], lambda: w * x)


def rows_in_a_branch(x, w):
    return rf.cond(positive(-x), lambda: rf.gather(x, [0, 0]) * w, lambda: rf.zeros([2], rf.float64))


CASES = [branch_taken, branch_not_taken, branches_with_several_results, branch_that_returns_what_it_captured,
         conds_one_after_the_other, cond_in_cond, power, loop_that_does_not_run, two_variables_that_mix,
         a_variable_that_stays, length_that_the_values_decide, loop_in_loop, three_loops_deep, loop_in_cond,
         loop_in_cond_not_taken, cond_in_loop, loop_in_cond_in_loop, cond_in_loop_in_loop, loops_one_after_the_other,
         one_iteration_at_a_time, growing_shape, matrices, array_that_is_written, array_that_is_read,
         array_read_and_written, maximum_iterations, rows_of_a_captured_table, rows_of_a_matrix_that_is_captured,
         rows_in_a_loop_in_a_branch, rows_in_a_branch]


@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("build", CASES, ids=lambda f: f.__name__)
def test_gradient_equals_central_differences(build, known):
    with rf.Graph().as_default() as graph:
        xs = [rf.placeholder(rf.float64, v.shape if known else [None] * v.ndim) for v in (X, W)]
        y = build(*xs)
        grads = rf.gradients(y, xs)
        for backend in BACKENDS:
            check(graph, y, xs, grads, [X, W], backend)


@pytest.mark.parametrize("build", CASES, ids=lambda f: f.__name__)
def test_an_imported_graph_is_differentiated_like_one_made_here(build):
    with rf.Graph().as_default() as made:
        xs = [rf.placeholder(rf.float64, v.shape, name=name) for v, name in ((X, "x"), (W, "w"))]
        rf.identity(build(*xs), name="y")
        data = made.as_graph_def().SerializeToString()
    with rf.Graph().as_default() as graph:
        x, w, y = rf.import_graph_def(data, name="", return_elements=["x:0", "w:0", "y:0"])
        check(graph, y, [x, w], rf.gradients(y, [x, w]), [X, W])


def check(graph, y, xs, grads, values, backend=BACKENDS[-1]):
    with rf.Session(graph=graph, backend=backend) as session:
        feeds = dict(zip(xs, values))
        got = [session.run(g._as_tensor() if isinstance(g, rf.IndexedSlices) else g, feeds) for g in grads]

        def total(k, v):
            return float(np.sum(session.run(y, {**feeds, xs[k]: v})))

        for k, (v, g) in enumerate(zip(values, got)):
            numeric = np.zeros_like(v)
            for i in np.ndindex(v.shape):
                step = np.zeros_like(v)
                step[i] = 1e-6
                numeric[i] = (total(k, v + step) - total(k, v - step)) / 2e-6
            assert g.shape == v.shape
            np.testing.assert_allclose(g, numeric, rtol=2e-6, atol=1e-7, err_msg=xs[k].name)


def test_the_same_loop_is_differentiated_twice():
    with rf.Graph().as_default() as graph:
        x, w = (rf.placeholder(rf.float64, v.shape) for v in (X, W))
        y = cond_in_loop(x, w)
        first, second = rf.gradients(y, [x, w]), rf.gradients(rf.square(y), [x, w])
        check(graph, y, [x, w], first, [X, W])
        check(graph, rf.square(y), [x, w], second, [X, W])


def test_the_second_derivative_of_a_cond():
    with rf.Graph().as_default() as graph:
        x, w = (rf.placeholder(rf.float64, v.shape) for v in (X, W))
        y = conds_one_after_the_other(x, w)
        (g,) = rf.gradients(y, x)
        check(graph, g, [x, w], rf.gradients(g, [x, w]), [X, W])


def test_the_second_derivative_of_a_loop_is_a_clear_error():
    with rf.Graph().as_default():
        x = rf.placeholder(rf.float64, [2])
        (g,) = rf.gradients(power(x, 1.5), x)
        with pytest.raises(UnimplementedError, match="second derivative of a while_loop.*'gradients/.*Fix:"):
            rf.gradients(g, x)


@pytest.mark.parametrize("resource", [False, True])
def test_variables_are_trained_through_a_loop_that_reads_them(resource):
    with rf.Graph().as_default() as graph:
        v = rf.Variable(np.float64(0.5), use_resource=resource)
        inside = loop(3, lambda i, y: y * v.read_value(), rf.constant(np.float64(2.0)))[0]
        outside = loop(3, lambda i, y: y * v, rf.constant(np.float64(2.0)))[0]
        train = rf.train.GradientDescentOptimizer(0.1).minimize(inside + outside)
        with rf.Session(graph=graph, backend=BACKENDS[-1]) as session:
            session.run(rf.variables_initializer([v]))
            loss, _ = session.run([inside, train])
            assert loss == 2 * 0.5**3
            np.testing.assert_allclose(session.run(v), 0.5 - 0.1 * 2 * 2 * 3 * 0.5**2, rtol=1e-12)


def test_minimize_runs_in_a_branch():
    with rf.Graph().as_default() as graph:
        v, p = rf.Variable(np.float64(3.0)), rf.placeholder(rf.bool, [])
        loss = loop(2, lambda i, y: y * v, v * 1.0)[0]
        done = rf.cond(p, lambda: rf.train.GradientDescentOptimizer(0.1).minimize(loss), lambda: rf.no_op())
        with rf.Session(graph=graph, backend=BACKENDS[-1]) as session:
            session.run(rf.variables_initializer([v]))
            session.run(done, {p: False})
            assert session.run(v) == 3
            session.run(done, {p: True})
            np.testing.assert_allclose(session.run(v), 3 - 0.1 * 3 * 9)


def test_a_sparse_gradient_stays_sparse_through_a_cond():
    with rf.Graph().as_default() as graph:
        table, p = rf.placeholder(rf.float64, [5, 2]), rf.placeholder(rf.bool, [])
        y = rf.cond(p, lambda: rf.reduce_sum(rf.gather(table, [1, 1, 4])), lambda: rf.constant(np.float64(0)))
        (g,) = rf.gradients(y, table)
        assert isinstance(g, rf.IndexedSlices)
        with rf.Session(graph=graph, backend=BACKENDS[-1]) as session:
            for value, want in ((True, [0, 2, 0, 0, 1]), (False, [0] * 5)):
                dense = session.run(g._as_tensor(), {p: value, table: np.zeros((5, 2))})
                np.testing.assert_array_equal(dense, np.array(want)[:, None] * np.ones((1, 2)))


def test_a_sparse_gradient_stays_sparse_through_a_loop():
    with rf.Graph().as_default() as graph:
        table = rf.placeholder(rf.float64, [5, 2])
        y = loop(3, lambda i, y: y + rf.gather(table, [i, 4]), rf.zeros([2, 2], rf.float64))[0]
        (g,) = rf.gradients(y, table)
        assert isinstance(g, rf.IndexedSlices)
        with rf.Session(graph=graph, backend=BACKENDS[-1]) as session:
            got = session.run(g, {table: np.zeros((5, 2))})
            np.testing.assert_array_equal(np.sort(got.indices), [0, 1, 2, 4, 4, 4])
            np.testing.assert_array_equal(got.dense_shape, [5, 2])
            np.testing.assert_array_equal(session.run(g._as_tensor(), {table: np.zeros((5, 2))})[:, 0], [1, 1, 1, 0, 3])


def test_gradients_can_be_taken_inside_of_a_body_and_of_a_branch():
    with rf.Graph().as_default() as graph:
        x, p = rf.placeholder(rf.float64, []), rf.placeholder(rf.bool, [])
        newton = loop(8, lambda i, y: y - (y * y - x) / rf.gradients(y * y - x, y)[0], x)[0]
        inside = rf.cond(p, lambda: rf.gradients(rf.square(x) * x, x)[0], lambda: x)
        with rf.Session(graph=graph, backend=BACKENDS[-1]) as session:
            np.testing.assert_allclose(session.run(newton, {x: 2.0}), 2**0.5)
            assert session.run(inside, {x: 2.0, p: True}) == 12


def test_no_gradient_comes_through_back_prop_false_or_stop_gradients():
    with rf.Graph().as_default() as graph:
        x = rf.placeholder(rf.float64, [])
        assert rf.gradients(loop(2, lambda i, y: y * x, x, back_prop=False)[0], x) == [None]
        a = x * 2.0
        y = loop(2, lambda i, y: y * a, a)[0]
        assert rf.gradients(y, x, stop_gradients=[a]) == [None]
        (g,) = rf.gradients(rf.cond(x > 0.0, lambda: rf.stop_gradient(x) * x, lambda: x), x)
        with rf.Session(graph=graph, backend=BACKENDS[-1]) as session:
            assert session.run(g, {x: 3.0}) == 3


def test_an_x_inside_of_a_loop_is_refused_by_name():
    kept = []
    with rf.Graph().as_default():
        x = rf.constant(np.float64(1))
        y = loop(2, lambda i, y: kept.append(rf.multiply(y, x, name="inner")) or kept[0], x)[0]
        with pytest.raises(InvalidArgumentError, match="'while/inner:0' is made in the loop.*Fix: differentiate"):
            rf.gradients(y, kept[0])
