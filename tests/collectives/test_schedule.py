"""Where buckets begin and end: the best boundaries, the table before the run, and that all ranks decide alike."""
import itertools

import numpy as np
import pytest
import ringflow as rf
from ringflow.collectives import buckets, loopback, report
from ringflow.collectives.costs import Link, link_of
from ringflow.collectives.schedule import boundaries, fixed, timeline
from ringflow.graph.errors import InvalidArgumentError, UnimplementedError
from ringflow.graph.placement.costs import estimated_seconds


def end_of(ends, ready, sizes, link):
    parts = [range(a, b) for a, b in zip([0, *ends], ends)]
    return timeline([ready[p[-1]] for p in parts], [sum(sizes[i] for i in p) for p in parts], link)[-1][1]


@pytest.mark.parametrize("latency_s, byte_s", [(0.0, 1e-3), (1e-1, 1e-3), (1.0, 1e-2), (10.0, 0.0)])
def test_no_other_boundaries_end_the_exchange_earlier(latency_s, byte_s):
    rng = np.random.default_rng(3)
    link = Link(latency_s, byte_s)
    for n in (1, 2, 5, 8):
        ready, sizes = np.cumsum(rng.random(n)).tolist(), rng.integers(0, 900, n).tolist()
        best = min(end_of([*inner, n], ready, sizes, link) for k in range(n)
                   for inner in itertools.combinations(range(1, n), k))
        got = boundaries(ready, sizes, link)
        assert got[-1] == n and end_of(got, ready, sizes, link) == pytest.approx(best)


def test_latency_merges_and_bandwidth_splits():
    ready, sizes = [1.0, 2.0, 3.0, 4.0], [100] * 4
    assert boundaries(ready, sizes, Link(9.0, 1e-9)) == [4]
    assert boundaries(ready, sizes, Link(0.0, 5e-3)) == [1, 2, 3, 4]
    assert boundaries(ready, sizes, Link(0.0, 5e-3, concurrent=False)) == [4]
    assert boundaries([], [], Link(1.0, 1.0)) == []


def test_fixed_buckets_hold_at_most_so_many_bytes():
    assert fixed([100, 100, 100, 300, 1], 200) == [2, 3, 4, 5]
    assert fixed([], 200) == []


def test_estimates_count_the_products():
    with rf.Graph().as_default():
        x = rf.placeholder(rf.float32, [8, 1000])
        product = rf.matmul(x, rf.Variable(np.zeros((1000, 500), np.float32)))
        assert estimated_seconds(product.op) == pytest.approx(2 * 8 * 1000 * 500 / 3e10, rel=0.01)
        assert estimated_seconds(rf.identity(x).op) == 0


def deep(widths=(64, 256, 256, 1)):
    """(train op, feed) of dense layers w0, w1, ..."""
    x = rf.placeholder(rf.float32, [None, widths[0]], name="x")
    h = x
    for k, (i, o) in enumerate(zip(widths, widths[1:])):
        h = rf.tanh(rf.matmul(h, rf.Variable(np.full((i, o), 1e-3, np.float32), name=f"w{k}")))
    return rf.distribute(rf.train.GradientDescentOptimizer(0.1).minimize(rf.reduce_mean(h))), x


TABLE = """\
2 ranks, one_pass: 10 us + 1 ns/byte; op times: estimated
bucket   bytes  tensors  ready ms  start ms  end ms  exposed ms  overlap  members
     0  263168        2     1.000     1.000   1.273       0.000      yes  allreduce/w2, allreduce/w1
     1   65536        1     3.000     3.000   3.076       0.026       no  allreduce/w0
computing ends at 3.050 ms, the exchange at 3.076 ms, 0.026 ms of it exposed"""


def test_table_tells_bytes_members_and_predicted_times(monkeypatch):
    monkeypatch.setenv("RINGFLOW_BUCKET_BYTES", "263168")

    def body(world):
        with rf.Graph().as_default(), rf.Session() as session:
            train_op, x = deep()
            program, _ = report._program(session, train_op, {x: np.zeros((4, 64))})
            return report.table(program.notes["buckets"], [1e-3, 3e-3], 3.05e-3, Link(1e-5, 1e-9),
                                "2 ranks, one_pass: 10 us + 1 ns/byte; op times: estimated")

    assert loopback.run(2, body)[0] == TABLE


@pytest.mark.parametrize("algorithm", ["one_pass", "ring"])
def test_measured_steps_train_and_give_all_ranks_the_same_buckets(algorithm):
    def body(world):
        with rf.Graph().as_default(), rf.Session() as session:
            train_op, x = deep()
            session.run(rf.global_variables_initializer())
            feed = {x: np.ones((2 + world.rank, 64))}
            before = rf.collectives.describe(session, train_op, feed)
            rf.collectives.measure(session, train_op, feed, steps=2)
            after = rf.collectives.describe(session, train_op, feed)
            session.run(train_op, feed)
            return before, after, session.run("w0:0")

    results = loopback.run(2, body, algorithm=algorithm)
    assert results[0][1] == results[1][1]  # the same figures, although the batches differ
    assert "op times: estimated" in results[0][0] and "op times: measured" in results[0][1]
    np.testing.assert_array_equal(results[0][2], results[1][2])
    assert not np.allclose(results[0][2], 1e-3, rtol=1e-3)


def test_ranks_share_one_decision_though_their_feeds_differ(monkeypatch):
    def body(world):
        with rf.Graph().as_default(), rf.Session() as session:
            world.remembered["link"] = Link(1e-6, 1e-9 * (1 + world.rank))  # not what a real world would do
            train_op, x = deep()
            program, _ = report._program(session, train_op, {x: np.zeros((1 + 500 * world.rank, 64))})
            return buckets.describe(program), [b.overlap for b in program.notes["buckets"]]

    first, second = loopback.run(2, body)
    assert first == second


def test_only_what_something_follows_wakes_the_communication_thread():
    def body(world):
        with rf.Graph().as_default(), rf.Session() as session:
            world.remembered["link"] = Link(1e-9, 1e-9)
            train_op, x = deep()
            program, _ = report._program(session, train_op, {x: np.zeros((50000, 64))})
            return [b.overlap for b in program.notes["buckets"]]

    overlaps = loopback.run(2, body)[0]
    assert len(overlaps) > 1 and overlaps[-1] is False and all(overlaps[:-1])


def test_link_is_measured_once_and_agreed_on():
    def body(world):
        link = link_of(world)
        assert link_of(world) is link
        return link

    links = loopback.run(3, body)
    assert len(set(links)) == 1 and links[0].latency_s > 0 and links[0].byte_s > 0


def test_misuse_of_measure_is_told():
    with rf.Graph().as_default(), rf.Session(backend="reference") as session:
        train_op, x = deep()
        with pytest.raises(InvalidArgumentError, match="at least one step"):
            rf.collectives.measure(session, train_op, {}, steps=0)
        with pytest.raises(UnimplementedError, match="times no nodes"):
            rf.collectives.measure(session, train_op, {})
