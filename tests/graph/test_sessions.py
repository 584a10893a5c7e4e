"""Sessions beyond run: containers, reset, extension, finalising, options, several sessions and threads on one graph."""
import threading

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.default_session import get_default_session
from ringflow.graph.errors import FailedPreconditionError, GraphError, InvalidArgumentError
from ringflow.graph.session import BACKENDS


# ---- containers
def test_clearing_a_container_forgets_its_variables_only(session):
    with rf.container("kept"):
        a = rf.Variable(1.0)
        with rf.container("dropped"):
            b = rf.Variable(2.0)
            with rf.container(""):
                c = rf.Variable(3.0, use_resource=True)
        d = rf.Variable(4.0, use_resource=True)
    assert [v.op.get_attr("container") for v in (a, b, c, d)] == ["kept", "dropped", "", "kept"]
    session.run(rf.global_variables_initializer())
    session.clear("dropped")
    assert session.run([a, c, d]) == [1.0, 3.0, 4.0]
    with pytest.raises(FailedPreconditionError, match="uninitialized value"):
        session.run(b)
    session.clear()
    with pytest.raises(FailedPreconditionError):
        session.run(c)
    assert session.run(a) == 1.0


def test_nodes_of_one_container_and_shared_name_are_one_variable(session):
    def node(container, name):
        return rf.get_default_graph().create_op("VariableV2", [], {"shape": rf.TensorShape([]), "dtype": rf.float32,
                                                                   "container": container, "shared_name": name})

    a, b, other = node("c", "w").outputs[0], node("c", "w").outputs[0], node("d", "w").outputs[0]
    for ref, value in ((a, 5.0), (other, 7.0)):
        session.run(rf.get_default_graph().create_op("Assign", [ref, rf.constant(value)]))
    assert session.run([rf.identity(a), rf.identity(b), rf.identity(other)]) == [5.0, 5.0, 7.0]


def test_reset_clears_containers_of_all_sessions_and_closes_them():
    with rf.Graph().as_default():
        v = rf.Variable(1.0)
        one, two = rf.Session(), rf.InteractiveSession()
        one.run(v.initializer)
        rf.Session.reset("")
        assert get_default_session() is not two
        for session in (one, two):
            with pytest.raises(GraphError, match="closed"):
                session.run(v)
        with pytest.raises(InvalidArgumentError, match="there are no servers"):
            rf.Session.reset("grpc://host:2222")


# ---- extending
def test_nodes_made_after_a_run_run_with_the_old_variables(session):
    v = rf.Variable(2.0)
    session.run(v.initializer)
    up = v.assign_add(3.0)
    session.run(up.op)
    double = v.read_value() * 2.0
    assert session.run(double) == 10.0
    assert session.run(double + 1.0) == 11.0


@pytest.mark.parametrize("change", [
    lambda op, other: op._update_input(0, other.outputs[0]),
    lambda op, other: op._add_control_input(other),
    lambda op, other: op._add_control_inputs([other]),
    lambda op, other: op._remove_all_control_inputs(),
    lambda op, other: op._set_attr("_mark", 1),
    lambda op, other: op._set_device("/cpu:0"),
], ids=["input", "control input", "control inputs", "no control inputs", "attr", "device"])
def test_a_node_changes_until_it_runs_and_not_after(session, change):
    other = rf.constant(1.0).op
    op = rf.identity(rf.constant(2.0)).op
    change(op, other)
    session.run(op)
    with pytest.raises(GraphError, match=r"Identity'? ?\(?.*already run and may not be changed.*test_sessions.py"):
        change(op, other)
    finished = rf.identity(rf.constant(2.0)).op
    session.graph.finalize()
    with pytest.raises(RuntimeError, match="Graph is finalized and cannot be modified."):
        change(finished, other)
    with pytest.raises(RuntimeError, match="Graph is finalized and cannot be modified."):
        rf.constant(1.0)
    assert session.run(finished.outputs[0]) in (1.0, 2.0)


# ---- life
def test_an_interactive_session_is_the_default_until_closed():
    with rf.Graph().as_default():
        a = rf.constant(3.0)
        session = rf.InteractiveSession()
        assert a.eval() == 3.0
        session.close()
        session.close()
        with pytest.raises(GraphError, match="no default session"):
            a.eval()


def test_wrong_options_are_refused():
    with rf.Graph().as_default():
        with pytest.raises(InvalidArgumentError, match="rf.ConfigProto: received dict"):
            rf.Session(config={"device_count": {"CPU": 2}})
        with pytest.raises(InvalidArgumentError, match="device_count"):
            rf.Session(config=rf.ConfigProto(device_count={"CPU": -1}))
        with pytest.raises(InvalidArgumentError, match="timeout_in_ms"):
            rf.RunOptions(timeout_in_ms=-1)
        config = rf.ConfigProto()
        config.gpu_options.allow_growth = True
        with pytest.raises(AttributeError):
            config.alow_soft_placement = True
        with rf.Session(config=config) as session:
            assert session.run(rf.constant(1.0), options=rf.RunOptions()) == 1.0
            with pytest.raises(InvalidArgumentError, match="rf.RunOptions"):
                session.run(rf.constant(1.0), options=3)


def test_opt_level_minus_one_runs_every_node_as_written(session):
    x = rf.constant(2.0)
    y = rf.identity(x * 3.0)
    config = rf.ConfigProto(graph_options=rf.GraphOptions(optimizer_options=rf.OptimizerOptions(opt_level=-1)))
    for made, nodes in ((session, 2), (rf.Session(config=config), 5)):
        compile_, sizes = made.backend.compile, []
        made.backend.compile = lambda program, c=compile_, n=sizes: n.append(len(program.graph._ops)) or c(program)
        assert made.run(y) == 6.0
        assert sizes == [nodes]


# ---- threads
def test_sessions_in_threads_share_a_graph_that_grows(session):
    v = rf.Variable(np.arange(4, dtype=np.float32))
    x = rf.placeholder(rf.float32, [None])
    y = rf.reduce_sum(v) * rf.reduce_sum(x)
    init = v.initializer
    failed = []

    def work(k):
        try:
            with rf.Session(graph=session.graph, backend=session_backend) as own:
                own.run(init)
                for i in range(30):
                    n = (i + k) % 9 + 1
                    assert own.run(y, {x: np.full(n, k, np.float32)}) == 6.0 * n * k
        except BaseException as e:  # reported by the main thread
            failed.append(e)

    session_backend = next(n for n, b in BACKENDS.items() if type(session.backend) is b)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    grown = [x]
    while any(t.is_alive() for t in threads) or len(grown) < 6:
        grown.append(rf.identity(grown[-1]) + 1.0)
    for t in threads:
        t.join()
    assert not failed, failed
    assert session.run(grown[5], {x: [1.0]})[0] == 6.0


# ---- looking at passes
def test_every_pass_is_written_before_and_after(session, tmp_path, monkeypatch):
    monkeypatch.setenv("RINGFLOW_DUMP_PASSES", str(tmp_path))
    x = rf.placeholder(rf.float32, [2], name="x")
    session.run((x + 1.0) * rf.reduce_sum(rf.constant([1.0, 2.0], name="c"), name="total"), {x: [1, 2]})
    session.run(x * 2.0, {x: [1, 2]})
    names = sorted(p.name.split("_", 1)[1] for p in tmp_path.iterdir())
    assert names[0] == "000_00_extract.txt" and any(n.startswith("001_00") for n in names)
    stems = [n.split("_", 2)[2] for n in names if n.startswith("000")]
    assert stems.index("fold_constants.txt") < stems.index("drop_dead_code.txt")
    text = {n: next(tmp_path.glob(f"*_{n}")).read_text() for n in names}
    assert "total = Sum(c" in text["000_00_extract.txt"]
    last = text[next(n for n in names if "000" in n and "drop_dead" in n)]
    assert "Sum(" not in last and "x/_arg_0 = _Arg()" in last
