"""The networks of the examples: images (n, height, width, 1) to 10 logits."""
import numpy as np
import ringflow as rf


def _weights(name, *shape):
    fan_in = int(np.prod(shape[:-1]))
    return rf.Variable(rf.truncated_normal(shape, stddev=np.sqrt(2 / fan_in)), name=name)


def _convolution(x, name, size, channels):
    w = _weights(f"{name}/w", size, size, x.shape[-1], channels)
    b = rf.Variable(rf.zeros([channels]), name=f"{name}/b")
    return rf.nn.relu(rf.nn.bias_add(rf.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding="SAME"), b))


def _pool(x):
    return rf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")


def _dense(x, name, units):
    w = _weights(f"{name}/w", x.shape[-1], units)
    return rf.matmul(x, w) + rf.Variable(rf.zeros([units]), name=f"{name}/b")


def _flat(x):
    return rf.reshape(x, [-1, int(np.prod(x.shape[1:].as_list()))])


def lenet(x):
    """For 28x28: two 5x5 convolutions of 32 and 64 channels with pools, 1024 units."""
    h = _pool(_convolution(x, "conv1", 5, 32))
    h = _pool(_convolution(h, "conv2", 5, 64))
    return _dense(rf.nn.relu(_dense(_flat(h), "dense1", 1024)), "dense2", 10)


def small_net(x):
    """For small images: two 3x3 convolutions of 16 and 32 channels, one pool, 64 units."""
    h = _convolution(x, "conv1", 3, 16)
    h = _pool(_convolution(h, "conv2", 3, 32))
    return _dense(rf.nn.relu(_dense(_flat(h), "dense1", 64)), "dense2", 10)
