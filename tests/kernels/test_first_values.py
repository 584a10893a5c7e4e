"""The first value of a variable may become its memory; nothing but the memory that a process needs may tell."""
import subprocess
import sys

import numpy as np
import pytest
import ringflow as rf


@pytest.fixture
def session(graph):
    with rf.Session(graph=graph, backend="cpp") as session:
        yield session


def test_variables_of_one_value_do_not_share_it(session):
    zeros = rf.zeros([2000])
    v, w = rf.Variable(zeros, name="v"), rf.Variable(zeros, name="w")
    session.run(rf.global_variables_initializer())
    session.run(v.assign_add(np.ones(2000, np.float32)))
    assert session.run(v).sum() == 2000 and session.run(w).sum() == 0


def test_a_value_that_is_read_after_its_variable_was_updated_is_the_first_one(session):
    first = rf.ones([2000]) * rf.placeholder_with_default(3.0, [])
    v = rf.Variable(first, name="v")
    with rf.control_dependencies([v.initializer]):
        update = v.assign_add(np.ones(2000, np.float32))
    with rf.control_dependencies([update]):
        late = first * 2.0
    assert session.run([late, update])[0].tolist() == [6.0] * 2000
    assert session.run(v).tolist() == [4.0] * 2000


@pytest.mark.parametrize("use_resource", [False, True])
def test_an_initializer_that_runs_again_gives_first_values_again(session, use_resource):
    v = rf.Variable(rf.random_normal([1 << 20], seed=1) + 10.0, name="v", use_resource=use_resource)
    session.run(v.initializer)
    before = session.run(v)
    session.run(v.assign_add(np.ones(1 << 20, np.float32)))
    session.run(v.initializer)
    after = session.run(v)
    assert abs(before.mean() - 10) < 0.01 and abs(after.mean() - 10) < 0.01 and not np.array_equal(before, after)


def test_a_fetched_first_value_is_the_variable_s(session):
    v = rf.Variable(rf.random_normal([5000]), name="v")
    fetched, _ = session.run([v.initial_value, v.initializer])
    session.run(v.assign_add(np.ones(5000, np.float32)))
    np.testing.assert_array_equal(session.run(v), fetched + np.float32(1))


MEASURED = """
import ringflow as rf
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
v = [rf.Variable({value}, name="v%d" % i) for i in range(4)]
with rf.Session(backend="cpp") as session:
    session.run(rf.zeros([4]) + 1.0)
    before = peak()
    session.run(rf.global_variables_initializer())
    after = peak()
    now = int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) / 1024
print(after - before, now - before)
"""


@pytest.mark.parametrize("value, most, kept", [("rf.zeros([16, 1 << 20]) ", 1.3, 1.1),
                                               ("rf.random_normal([16, 1 << 20], seed=i)", 2.3, 1.1)])
def test_initializing_does_not_take_the_model_s_memory_twice(value, most, kept):
    """4 variables of 64 MiB. Random values are drawn into the arena, whose pages go back."""
    ran = subprocess.run([sys.executable, "-c", MEASURED.format(value=value)], capture_output=True, text=True,
                         timeout=120)
    assert ran.returncode == 0, ran.stderr
    peak, resident = map(float, ran.stdout.split())
    assert 256 <= peak < most * 256 and resident < kept * 256 + 8
