"""The seven workloads as PyTorch modules, from ringflow's initial weights (`workload_inputs.py`).

Weights are brought to PyTorch's layouts before the first step: dense weights (out, in), filters OIHW, images NCHW.
nn.LSTM is faster than a loop over the steps, fused optimizers no slower than the other kinds on any workload; they take
no sparse gradients, which embed has.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import workload_inputs as inputs
from torch import Tensor, nn

Weights = dict[str, Any]  # NumPy arrays


def parameter(value: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(value).contiguous())


def dense(w: Any, b: Any = None) -> nn.Linear:
    layer = nn.Linear(*w.shape, bias=b is not None)
    layer.weight = parameter(w.T)
    if b is not None:
        layer.bias = parameter(b)
    return layer


def conv(w: Any, b: Any = None, stride: int = 1) -> nn.Module:
    """A convolution padded as TensorFlow's SAME is: at the end only, where a stride of 2 leaves one pixel."""
    size, _, channels_in, channels_out = w.shape
    uneven = stride == 2 and size == 3
    layer = nn.Conv2d(channels_in, channels_out, size, stride, 0 if uneven else size // 2, bias=b is not None)
    layer.weight = parameter(w.transpose(3, 2, 0, 1))
    if b is not None:
        layer.bias = parameter(b)
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), layer) if uneven else layer


def norm(scale: Any, offset: Any) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(len(scale), track_running_stats=False)
    layer.weight, layer.bias = parameter(scale), parameter(offset)
    return layer


def layer_norm(scale: Any, offset: Any) -> nn.LayerNorm:
    layer = nn.LayerNorm(len(scale))
    layer.weight, layer.bias = parameter(scale), parameter(offset)
    return layer


def tiny(w: Weights) -> nn.Module:
    return nn.Sequential(dense(w["w1"], w["b1"]), nn.Tanh(), dense(w["w2"], w["b2"]))


def mlp(w: Weights) -> nn.Module:
    return nn.Sequential(dense(w["w1"], w["b1"]), nn.ReLU(), dense(w["w2"], w["b2"]), nn.ReLU(),
                         dense(w["w3"], w["b3"]))


def lenet(w: Weights) -> nn.Module:
    rows = w["w1"].reshape(7, 7, 64, 1024).transpose(2, 0, 1, 3).reshape(3136, 1024)  # flattened from NCHW
    return nn.Sequential(conv(w["c1"], w["cb1"]), nn.ReLU(), nn.MaxPool2d(2),
                         conv(w["c2"], w["cb2"]), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         dense(rows, w["b1"]), nn.ReLU(), dense(w["w2"], w["b2"]))


class Block(nn.Module):
    """Two convolutions and the sum with their input."""

    def __init__(self, w: Weights, k: str, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(w[k + "c1"], stride=stride), norm(w[k + "g1"], w[k + "b1"]), nn.ReLU(True))
        self.second = nn.Sequential(conv(w[k + "c2"]), norm(w[k + "g2"], w[k + "b2"]))
        self.short = conv(w[k + "sc"], stride=stride) if k + "sc" in w else nn.Identity()

    def forward(self, h: Tensor) -> Tensor:
        return F.relu(self.second(self.first(h)) + self.short(h), inplace=True)


def resnet20(w: Weights) -> nn.Module:
    blocks = [Block(w, f"s{stage}b{block}_", stride if block == 0 else 1)
              for stage, (_, stride) in enumerate(inputs.RESNET_STAGES) for block in range(3)]
    return nn.Sequential(conv(w["stem"]), norm(w["stem_g"], w["stem_b"]), nn.ReLU(True), *blocks,
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(w["w"], w["b"]))


class Lstm(nn.Module):
    """nn.LSTM has two biases where the workload has one: the second rests at zero."""

    def __init__(self, w: Weights) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(w["emb"]), freeze=False)
        self.cell = nn.LSTM(inputs.LSTM["units"], inputs.LSTM["units"])
        self.cell.weight_ih_l0, self.cell.weight_hh_l0 = parameter(w["wx"].T), parameter(w["wh"].T)
        self.cell.bias_ih_l0, self.cell.bias_hh_l0 = parameter(w["bg"]), parameter(w["bg"] * 0)
        self.cell.bias_hh_l0.requires_grad_(False)
        self.head = dense(w["w"], w["b"])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.embedding(x.T))[0]).transpose(0, 1)


class Attention(nn.Module):
    def __init__(self, w: Weights, k: str) -> None:
        super().__init__()
        self.norm = layer_norm(w[k + "ln1g"], w[k + "ln1b"])
        self.qkv, self.out = dense(w[k + "qkv"], w[k + "qkvb"]), dense(w[k + "o"], w[k + "ob"])

    def forward(self, h: Tensor) -> Tensor:
        heads = inputs.GPT["heads"]
        query, key, value = (z.unflatten(2, (heads, -1)).transpose(1, 2) for z in self.qkv(self.norm(h)).chunk(3, 2))
        a = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return h + self.out(a.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, w: Weights, k: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(layer_norm(w[k + "ln2g"], w[k + "ln2b"]), dense(w[k + "f1"], w[k + "f1b"]),
                                    nn.GELU(approximate="tanh"), dense(w[k + "f2"], w[k + "f2b"]))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.layers(h)


class Gpt(nn.Module):
    def __init__(self, w: Weights) -> None:
        super().__init__()
        self.tokens = nn.Embedding.from_pretrained(torch.from_numpy(w["wte"]), freeze=False)
        self.positions = parameter(w["wpe"])
        self.blocks = nn.Sequential(*(part(w, f"l{layer}_") for layer in range(inputs.GPT["layers"])
                                      for part in (Attention, FeedForward)))
        self.head = nn.Sequential(layer_norm(w["lnfg"], w["lnfb"]), dense(w["head"]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.tokens(x) + self.positions))


def embed(w: Weights) -> nn.Module:
    table = nn.EmbeddingBag.from_pretrained(torch.from_numpy(w["table"]), freeze=False, mode="mean", sparse=True)
    return nn.Sequential(table, dense(w["w1"], w["b1"]), nn.ReLU(), dense(w["w2"], w["b2"]))


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))


def momentum(rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda weights: torch.optim.SGD(weights, rate, momentum=0.9, fused=True)


# name: (model, loss, optimizer)
MODELS: dict[str, tuple[Callable[[Weights], nn.Module], Callable[..., Tensor], Callable[[Any], Any]]] = {
    "tiny": (tiny, F.mse_loss, lambda weights: torch.optim.SGD(weights, 0.05, fused=True)),
    "mlp": (mlp, cross_entropy, momentum(0.01)),
    "lenet": (lenet, cross_entropy, momentum(0.001)),
    "resnet20": (resnet20, cross_entropy, momentum(0.005)),
    "lstm": (Lstm, cross_entropy, lambda weights: torch.optim.SGD(weights, 0.5, fused=True)),
    "gpt": (Gpt, cross_entropy, lambda weights: torch.optim.Adam(weights, 1e-3, fused=True)),
    "embed": (embed, F.binary_cross_entropy_with_logits, lambda weights: torch.optim.SGD(weights, 1.0)),  # sparse
}
