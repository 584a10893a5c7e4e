"""Intra-op threads: the same bits with any number of them, errors from any of them, and no harm to other threads."""
import os
import subprocess
import sys
import threading
from importlib.util import find_spec

import numpy as np
import pytest
import ringflow as rf

_core = pytest.importorskip("ringflow._core")


@pytest.fixture(autouse=True)
def back_to_one():
    before = _core.intra_op_threads()
    yield
    _core.set_intra_op_threads(before)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def conv(x, w):
    return rf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")


def batch_norm(x, scale):
    return rf.nn.fused_batch_norm(x, scale, scale, is_training=True)[0]


def sum_of_products(a, b):
    return rf.add_n([rf.matmul(x, y, transpose_a=True) for x, y in zip(rf.split(a, 40), rf.split(b, 40))])


CASES = {
    "MatMul": (rf.matmul, normal(700, 300), normal(300, 500)),
    "MatMul, wide": (rf.matmul, normal(70, 900), normal(900, 3000)),
    "MatMul, transposed": (lambda a, b: rf.matmul(a, b, transpose_a=True), normal(600, 400), normal(600, 300)),
    "BatchMatMulV2": (rf.matmul, normal(9, 150, 170), normal(9, 170, 130)),
    "_SumOfProducts": (sum_of_products, normal(1280, 300), normal(1280, 500)),
    "Conv2D": (conv, normal(6, 28, 28, 3), normal(5, 5, 3, 32)),
    "Conv2D, many channels": (conv, normal(5, 14, 14, 32), normal(3, 3, 32, 67)),
    "Conv2D, by tiles": (conv, normal(9, 30, 26, 16), normal(3, 3, 16, 16)),
    "Conv2D, by tiles, 5x5": (conv, normal(20, 28, 28, 16), normal(5, 5, 16, 32)),
    "Conv2D, strided": (lambda x, w: rf.nn.conv2d(x, w, [1, 2, 2, 1], "SAME"), normal(5, 14, 14, 32),
                        normal(3, 3, 32, 67)),
    "Conv2D, pointwise": (conv, normal(6, 28, 28, 24), normal(1, 1, 24, 40)),
    "fused": (lambda x, y: rf.tanh(x * y) * y + x, normal(700, 611), normal(611)),
    "broadcast": (lambda x, y: x / (1.0 + rf.square(y)), normal(700, 611), normal(700, 1)),
    "Softmax": (lambda x, y: rf.nn.softmax(x) * y, normal(900, 333), normal(333)),
    "Sum": (lambda x, y: rf.reduce_sum(x * y, 0) + rf.reduce_sum(x * y), normal(900, 333), normal(333)),
    "Sum of short rows": (lambda x, y: rf.reduce_sum(x * y, 1), normal(90001, 7), normal(7)),
    "Transpose": (lambda x, y: rf.transpose(x, [1, 2, 0]) * y, normal(60, 70, 80), normal(60)),
    "MaxPool": (lambda x, y: rf.nn.max_pool(x * y, [1, 3, 3, 1], [1, 2, 2, 1], "SAME"),
                normal(7, 40, 40, 16), normal(16)),
    "AvgPool": (lambda x, y: rf.nn.avg_pool(x * y, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"),
                normal(7, 40, 40, 16), normal(16)),
    "FusedBatchNormV3": (batch_norm, normal(9, 30, 30, 16), normal(16)),
    "LRN": (lambda x, y: rf.nn.lrn(x * y), normal(7, 20, 20, 16), normal(16)),
    "BiasAdd": (rf.nn.bias_add, normal(7, 40, 40, 19), normal(19)),
    "DepthwiseConv2dNative": (lambda x, w: rf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"), normal(7, 20, 20, 19),
                              normal(3, 3, 19, 2)),
    "AddN": (lambda x, y: rf.add_n([x, x * y, y + x, x - y, x]), normal(700, 611), normal(611)),
    "Max": (lambda x, y: rf.reduce_max(x * y, 0) + rf.reduce_max(x * y), normal(900, 333), normal(333)),
    "cross entropy": (lambda x, y: rf.nn.sparse_softmax_cross_entropy_with_logits(labels=[5] * 900, logits=x * y),
                      normal(900, 333), normal(333)),
    "GatherV2": (lambda x, y: rf.gather(x * y, list(range(0, 900, 7)) * 30), normal(900, 333), normal(333)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_have_the_same_bits(name):
    build, *arrays = CASES[name]
    graph = rf.Graph()
    with graph.as_default(), rf.Session(graph=graph) as session:
        inputs = [rf.placeholder(rf.float32, a.shape) for a in arrays]
        y = build(*inputs)
        step = session.make_callable([y, *rf.gradients(rf.reduce_sum(rf.tanh(y)), inputs)], inputs)
        results = []
        for threads in (1, 2, 3, 5):
            _core.set_intra_op_threads(threads)
            results.append([a.tobytes() for a in step(*arrays)])
    assert all(r == results[0] for r in results[1:])


def test_an_error_in_a_part_is_the_error_of_the_run():
    _core.set_intra_op_threads(3)
    graph = rf.Graph()
    with graph.as_default(), rf.Session(graph=graph) as session:
        x = rf.placeholder(rf.float32, [None, 400])
        y = rf.matmul(x, x)
        with pytest.raises(rf.errors.InvalidArgumentError, match="MatMul"):
            session.run(y, {x: normal(300, 400)})
        assert session.run(y, {x: normal(400, 400)}).shape == (400, 400)


def test_the_session_s_option_sets_their_number():
    with rf.Session(graph=rf.Graph(), config=rf.ConfigProto(intra_op_parallelism_threads=3)):
        assert _core.intra_op_threads() == 3


def test_sessions_of_several_threads_share_the_pool():
    _core.set_intra_op_threads(2)
    a = normal(500, 500)
    want, wrong = a @ a, []

    def work():
        graph = rf.Graph()
        with graph.as_default(), rf.Session(graph=graph) as session:
            x = rf.placeholder(rf.float32, [500, 500])
            product = session.make_callable(rf.matmul(x, x), [x])
            for _ in range(20):
                if not np.allclose(product(a), want, atol=1e-2):
                    wrong.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_threads_of_its_own():
    _core.set_intra_op_threads(2)
    a = normal(500, 500)
    graph = rf.Graph()
    with graph.as_default(), rf.Session(graph=graph) as session:
        x = rf.placeholder(rf.float32, [500, 500])
        product = session.make_callable(rf.matmul(x, x), [x])
        want = product(a).tobytes()
        child = os.fork()
        if child == 0:
            os._exit(0 if product(a).tobytes() == want else 1)
        assert os.waitpid(child, 0)[1] == 0


_THREADS_OF_THE_BLAS = """
import ctypes
import ringflow as rf
with rf.Session() as session:
    session.run(rf.matmul(rf.ones([300, 300]), rf.random_uniform([300, 300])))
print(ctypes.CDLL("libscipy_openblas.so").scipy_openblas_get_num_threads())
"""


@pytest.mark.skipif(find_spec("scipy_openblas32") is None, reason="built for the site's BLAS")
def test_the_blas_has_one_thread_whatever_the_environment_says():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "RINGFLOW_ISA": "avx2"}  # avx512 has tiles of our own
    run = subprocess.run([sys.executable, "-c", _THREADS_OF_THE_BLAS], env=environment, capture_output=True, text=True,
                         timeout=300)
    assert run.stdout.strip() == "1", run.stderr
