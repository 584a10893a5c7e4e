"""The gradient of fused batch norm with respect to image, scale and offset, where all are float64."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.autodiff.gradients import gradients
from ringflow.graph.opdef import OPS


@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_equal_central_differences(training, known):
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((2, 3, 4, 3)), rng.uniform(0.5, 2, 3), rng.standard_normal(3)]
    moments = [np.zeros(0), np.zeros(0)] if training else [rng.standard_normal(3), rng.uniform(0.5, 2, 3)]
    weights = rng.standard_normal(arrays[0].shape)
    with rf.Graph().as_default(), rf.Session(backend="reference") as session:
        xs = [rf.placeholder(rf.float64, a.shape if known else [None] * a.ndim) for a in arrays]
        y = OPS["FusedBatchNormV3"](*xs, *moments, is_training=training, epsilon=0.01)[0]
        grads = session.run(gradients(y, xs, weights), dict(zip(xs, arrays)))

        def loss(i, step):
            feeds = [a + (step if k == i else 0) for k, a in enumerate(arrays)]
            return float(np.sum(weights * session.run(y, dict(zip(xs, feeds)))))

        for i, g in enumerate(grads):
            direction = rng.standard_normal(arrays[i].shape)
            slope = (loss(i, 1e-6 * direction) - loss(i, -1e-6 * direction)) / 2e-6
            np.testing.assert_allclose(np.sum(g * direction), slope, rtol=1e-6)
