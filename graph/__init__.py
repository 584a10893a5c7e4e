"""The graph layer: what to compute. Pure Python, NumPy and protobuf; imports no other layer."""
from . import ops as ops
