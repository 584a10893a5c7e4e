"""Fusion: elementwise ops, reductions along rows and sums of columns become one node that works tile by tile.

fuse.py chooses the groups, fusible.py says what an op must be for it, groups.py what a group must be, nodes.py makes
the node of a group; min_cut.py finds what is computed again rather than read.
"""
from .fuse import fuse_elementwise

__all__ = ["fuse_elementwise"]
